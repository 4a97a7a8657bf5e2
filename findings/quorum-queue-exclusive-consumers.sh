#!/usr/bin/env bash
# A consumer that asks to be the only one (basic.consume with exclusive = true) is that on a classic queue: a second one is refused. On a
# quorum queue the second one is accepted without an error, and both get messages.
#
# Run as root on Debian, with mmdebstrap and iproute2. It makes a Debian of its own in a temporary folder and a RabbitMQ in a network of its own.
set -euo pipefail

# What was seen, by suite and version of Debian's package rabbitmq-server.
declare -A versions=([trixie]=4.0.5-6+deb13u2 [sid]=4.3.6-1)
declare -A expected=(
  [trixie]='classic: second consumer refused (403)
quorum:  second consumer accepted; deliveries: 1 and 1'
  [sid]='classic: second consumer refused (403)
quorum:  second consumer accepted; deliveries: 1 and 1'
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
import pika
connection = pika.BlockingConnection(pika.ConnectionParameters('127.0.0.1'))


def deliveries(queue, arguments):
    channel = connection.channel()
    channel.queue_declare(queue, durable=True, arguments=arguments)
    got = [0, 0]
    first = connection.channel()
    first.basic_qos(prefetch_count=1)
    first.basic_consume(queue, lambda *_: got.__setitem__(0, got[0] + 1), exclusive=True)
    second = connection.channel()
    second.basic_qos(prefetch_count=1)
    try:
        second.basic_consume(queue, lambda *_: got.__setitem__(1, got[1] + 1), exclusive=True)
    except pika.exceptions.ChannelClosedByBroker as error:
        return f'second consumer refused ({error.reply_code})'
    for _ in range(2):
        channel.basic_publish('', queue, b'job')
    for _ in range(20):
        connection.process_data_events(0.5)  # the first delivery takes a moment
    return f'second consumer accepted; deliveries: {got[0]} and {got[1]}'


print('classic:', deliveries('classic', {}))
print('quorum: ', deliveries('quorum', {'x-queue-type': 'quorum'}))
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
