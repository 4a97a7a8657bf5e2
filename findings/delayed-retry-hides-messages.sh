#!/usr/bin/env bash
# RabbitMQ 4.3: a policy with delayed-retry-type has a quorum queue keep back, for delayed-retry-min, what was given back, by nack and reject as well.
# Meanwhile the queue looks empty to a client: basic.get finds nothing, and queue.declare counts no message. So who looks into a queue and puts
# everything back finds nothing at the next look.
#
# Run as root on Debian, with mmdebstrap and iproute2. It makes a Debian of its own in a temporary folder and a RabbitMQ in a network of its own.
set -euo pipefail

# What was seen, by suite and version of Debian's package rabbitmq-server.
declare -A versions=([sid]=4.3.6-1)
expected='first look: 1 message, 1 counted before
given back by nack: 0 messages, 0 counted
6 s later: 1 message'

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
import time
import pika

ENVIRONMENT = {'PATH': '/usr/sbin:/usr/bin', 'HOME': '/var/lib/rabbitmq', 'RABBITMQ_NODENAME': 'rabbit@localhost'}
POLICY = '{"delayed-retry-type":"all","delayed-retry-min":5000,"delayed-retry-max":5000}'
subprocess.run(['setpriv', '--reuid=rabbitmq', '--regid=rabbitmq', '--clear-groups', '/usr/lib/rabbitmq/bin/rabbitmqctl', '-q',
                'set_policy', '--apply-to', 'quorum_queues', 'later', '^looked-at$', POLICY],
               check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
channel = pika.BlockingConnection(pika.ConnectionParameters('127.0.0.1')).channel()
channel.queue_declare('looked-at', durable=True, arguments={'x-queue-type': 'quorum'})
channel.confirm_delivery()
channel.basic_publish('', 'looked-at', b'letter')


def counted():
    return channel.queue_declare('looked-at', passive=True).method.message_count


def look():
    method, _, _ = channel.basic_get('looked-at')
    return method


before = counted()
method = look()
print(f'first look: {1 if method else 0} message, {before} counted before')
channel.basic_nack(method.delivery_tag, requeue=True)
time.sleep(0.5)
print(f'given back by nack: {1 if look() else 0} messages, {counted()} counted')
time.sleep(6)
print(f'6 s later: {1 if look() else 0} message')
CLIENT

for suite in sid; do
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
  [ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
done
