#!/usr/bin/env bash
# What a consumer meets that keeps a message longer than its queue's x-consumer-timeout is another thing in RabbitMQ 4.3 than it was in 4.0, where its
# channel is closed, for queues of both types. In 4.3 a quorum queue cancels the consumer (basic.cancel) as soon as the time is over, and the channel
# stays open: a program that waits for the end of its channel waits for ever, and gets nothing. A classic queue has no such timeout any more,
# and its declare with that argument, as a program did it with 4.0, is refused.
#
# Run as root on Debian, with mmdebstrap and iproute2. It makes a Debian of its own in a temporary folder and a RabbitMQ in a network of its own.
set -euo pipefail

# What was seen, by suite and version of Debian's package rabbitmq-server.
declare -A versions=([trixie]=4.0.5-6+deb13u2 [sid]=4.3.6-1)
declare -A expected=(
  [trixie]='classic: consumer cancelled: False, channel open: False
quorum: consumer cancelled: False, channel open: False'
  [sid]='classic: declare refused, 406
quorum: consumer cancelled: True, channel open: True'
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
import time
import pika

TIMEOUT_MS = 10_000
WATCHED_S = 150


def consume(queue_type):
    connection = pika.BlockingConnection(pika.ConnectionParameters('127.0.0.1', heartbeat=0))
    channel = connection.channel()
    try:
        channel.queue_declare(queue_type, durable=True, arguments={'x-queue-type': queue_type, 'x-consumer-timeout': TIMEOUT_MS})
    except pika.exceptions.ChannelClosedByBroker as error:
        return f'declare refused, {error.reply_code}'
    cancelled = []
    channel.add_on_cancel_callback(cancelled.append)
    channel.basic_publish('', queue_type, b'job')
    channel.basic_consume(queue_type, lambda *_: None)
    until = time.monotonic() + WATCHED_S
    while channel.is_open and not cancelled and time.monotonic() < until:
        try:
            connection.process_data_events(1)
        except pika.exceptions.ChannelClosedByBroker:
            pass
    return f'consumer cancelled: {bool(cancelled)}, channel open: {channel.is_open}'


for queue_type in ('classic', 'quorum'):
    print(f'{queue_type}: {consume(queue_type)}')
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
