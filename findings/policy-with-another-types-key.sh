#!/usr/bin/env bash
# A policy for all queues (apply-to "queues") with one key that a type of queue does not know is not applied to queues of that type at all, without
# an error. "delivery-limit" beside "dead-letter-exchange" leaves classic queues without their dead-letter target: what is rejected there is lost.
# So a policy for both types holds only keys that both know, or there are two policies.
#
# Run as root on Debian, with mmdebstrap and iproute2. It makes a Debian of its own in a temporary folder and a RabbitMQ in a network of its own.
set -euo pipefail

# What was seen, by suite and version of Debian's package rabbitmq-server.
declare -A versions=([trixie]=4.0.5-6+deb13u2 [sid]=4.3.6-1)
declare -A expected=(
  [trixie]='keys of both types: rejected from classic, quorum; dead letters: classic, quorum
and delivery-limit: rejected from classic, quorum; dead letters: quorum'
  [sid]='keys of both types: rejected from classic, quorum; dead letters: classic, quorum
and delivery-limit: rejected from classic, quorum; dead letters: quorum'
)

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '/\/debian\/$/ && !found++') # this machine's own
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT

cat >"$work/inside.sh" <<'INSIDE'
set -eu
ip link set lo up
mount -t tmpfs tmpfs "$1/tmp"
mount -t proc proc "$1/proc"
echo '127.0.0.1 localhost' >"$1/etc/hosts"
cp "$2" "$1/tmp/client.py"
echo '[].' >"$1/tmp/plugins"
chroot --userspec=rabbitmq:rabbitmq "$1" env HOME=/var/lib/rabbitmq RABBITMQ_NODENAME=rabbit@localhost ERL_EPMD_ADDRESS=127.0.0.1 \
  RABBITMQ_ENABLED_PLUGINS_FILE=/tmp/plugins /usr/lib/rabbitmq/bin/rabbitmq-server >"$2.log" 2>&1 &
for _ in $(seq 120); do
  (exec 3<>/dev/tcp/127.0.0.1/5672) 2>/dev/null && break
  sleep 0.5
done
chroot "$1" /usr/bin/python3 /tmp/client.py
INSIDE

cat >"$work/client.py" <<'CLIENT'
import subprocess
import pika

CTL = ['/usr/bin/setpriv', '--reuid=rabbitmq', '--regid=rabbitmq', '--clear-groups', '/usr/bin/env', 'HOME=/var/lib/rabbitmq',
       '/usr/lib/rabbitmq/bin/rabbitmqctl', '--node=rabbit@localhost', '--quiet']


def rabbitmqctl(*arguments):
    subprocess.run([*CTL, *arguments], check=True)


connection = pika.BlockingConnection(pika.ConnectionParameters('127.0.0.1'))
channel = connection.channel()
channel.confirm_delivery()
for queue_type in ('classic', 'quorum'):
    channel.queue_declare(queue_type, durable=True, arguments={'x-queue-type': queue_type})
channel.queue_declare('dead letters', durable=True)
policy = '"dead-letter-exchange": "", "dead-letter-routing-key": "dead letters"'


def reject(how):
    for queue in ('classic', 'quorum'):
        channel.basic_publish('', queue, queue.encode())
        delivery, _, _ = channel.basic_get(queue)
        channel.basic_reject(delivery.delivery_tag, requeue=False)
    connection.sleep(2)
    found = []
    while (letter := channel.basic_get('dead letters', auto_ack=True))[2] is not None:
        found.append(letter[2].decode())
    print(how, 'rejected from classic, quorum; dead letters:', ', '.join(sorted(found)))


rabbitmqctl('set_policy', 'letters', '^(classic|quorum)$', '{' + policy + '}', '--apply-to', 'queues')
reject('keys of both types:')
rabbitmqctl('set_policy', 'letters', '^(classic|quorum)$', '{' + policy + ', "delivery-limit": 5}', '--apply-to', 'queues')
reject('and delivery-limit:')
CLIENT

for suite in trixie sid; do
  root=$work/$suite
  mmdebstrap --quiet --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' --include=rabbitmq-server,python3-pika "$suite" "$root" "$mirror"
  version=$(chroot "$root" dpkg-query --show --showformat='${Version}' rabbitmq-server)
  echo "Debian $suite, rabbitmq-server $version"
  if [ "$version" != "${versions[$suite]}" ]; then
    echo "another version, not applicable (seen with ${versions[$suite]})"
    continue
  fi
  seen=$(unshare --net --mount --pid --ipc --fork --kill-child bash "$work/inside.sh" "$root" "$work/client.py")
  echo "$seen"
  [ "$seen" = "${expected[$suite]}" ] || { echo "changed: expected"; echo "${expected[$suite]}"; exit 1; }
done
