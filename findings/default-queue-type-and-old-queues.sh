#!/usr/bin/env bash
# The default queue type of a virtual host is no default for new queues only: it is put into every declare that names no type. When it changes from
# classic to quorum, each program that declares its old, classic queue as it always did is refused (406, inequivalent arg x-queue-type), and so is a new
# queue's own program when it changes back. Queues that cannot be quorum queues (not durable, exclusive, auto-delete) go on as classic ones.
# So the default can be changed only together with the queues, or with the programs.
#
# Run as root on Debian, with mmdebstrap and iproute2. It makes a Debian of its own in a temporary folder and a RabbitMQ in a network of its own.
set -euo pipefail

# What was seen, by suite and version of Debian's package rabbitmq-server.
declare -A versions=([trixie]=4.0.5-6+deb13u2 [sid]=4.3.6-1)
declare -A expected=(
  [trixie]='old: declared
the default is quorum
old: 406 PRECONDITION_FAILED
new: declared
of a session: declared
the default is classic
old: declared
new: 406 PRECONDITION_FAILED'
  [sid]='old: declared
the default is quorum
old: 406 PRECONDITION_FAILED
new: declared
of a session: declared
the default is classic
old: declared
new: 406 PRECONDITION_FAILED'
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


def declare(queue, **how):
    channel = connection.channel()
    try:
        channel.queue_declare(queue, **how)
        channel.close()
        return f'{queue}: declared'
    except pika.exceptions.ChannelClosedByBroker as error:
        return f'{queue}: {error.reply_code} {error.reply_text.split()[0]}'


print(declare('old', durable=True))
rabbitmqctl('update_vhost_metadata', '/', '--default-queue-type', 'quorum')
print('the default is quorum')
print(declare('old', durable=True))
print(declare('new', durable=True))
print(declare('of a session', durable=True, auto_delete=True))
rabbitmqctl('update_vhost_metadata', '/', '--default-queue-type', 'classic')
print('the default is classic')
print(declare('old', durable=True))
print(declare('new', durable=True))
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
