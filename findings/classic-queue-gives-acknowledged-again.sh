#!/usr/bin/env bash
# A durable classic queue of RabbitMQ 3.10 gives out messages again that were acknowledged before its node was killed (SIGKILL): all of the last moments,
# with the queue empty by RabbitMQ's own count. Their number has nothing to do with the prefetch: a consumer that never had more than one in hand gets
# hundreds again. RabbitMQ 3.10 writes acknowledgements to disk some moments later; three seconds later none comes again. A quorum queue gives none
# again at any time, nor does a classic queue of RabbitMQ 4.0.
#
# Run as root on Debian, with mmdebstrap and iproute2. It makes a Debian of its own in a temporary folder and a RabbitMQ in a network of its own.
set -euo pipefail

# What was seen, by suite and version of Debian's package rabbitmq-server.
declare -A versions=([bookworm]=3.10.8-1.1+deb12u1 [trixie]=4.0.5-6+deb13u2)
declare -A expected=(
  [bookworm]='classic, killed at once: 2000 acknowledged, 0 left; after the kill more than 200 again
classic, killed 3 s later: 2000 acknowledged, 0 left; after the kill none again
quorum, killed at once: 2000 acknowledged, 0 left; after the kill none again'
  [trixie]='classic, killed at once: 2000 acknowledged, 0 left; after the kill none again
classic, killed 3 s later: 2000 acknowledged, 0 left; after the kill none again
quorum, killed at once: 2000 acknowledged, 0 left; after the kill none again'
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
start() {
  chroot --userspec=rabbitmq:rabbitmq "$1" env HOME=/var/lib/rabbitmq RABBITMQ_NODENAME=rabbit@localhost ERL_EPMD_ADDRESS=127.0.0.1 \
    RABBITMQ_PID_FILE=/tmp/pid RABBITMQ_ENABLED_PLUGINS_FILE=/tmp/plugins /usr/lib/rabbitmq/bin/rabbitmq-server >>"$2.log" 2>&1 &
  for _ in $(seq 120); do
    (exec 3<>/dev/tcp/127.0.0.1/5672) 2>/dev/null && break
    sleep 0.5
  done
}
start "$1" "$2"
for case in 'classic 0' 'classic 3' 'quorum 0'; do
  chroot "$1" /usr/bin/python3 /tmp/client.py work $case
  pid=$(cat "$1/tmp/pid")
  kill -KILL "$pid"
  while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
  start "$1" "$2"
  chroot "$1" /usr/bin/python3 /tmp/client.py count $case
done
INSIDE

cat >"$work/client.py" <<'CLIENT'
import sys
import time
import pika

MESSAGES = 2000
do, kind, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3])
queue = f'{kind}-{seconds}'
channel = pika.BlockingConnection(pika.ConnectionParameters('127.0.0.1')).channel()
left = lambda: channel.queue_declare(queue, passive=True).method.message_count
if do == 'work':
    channel.queue_declare(queue, durable=True, arguments={'x-queue-type': kind})
    time.sleep(2)
    channel.confirm_delivery()
    for index in range(MESSAGES):
        channel.basic_publish('', queue, str(index).encode(), pika.BasicProperties(delivery_mode=2))
    channel.basic_qos(prefetch_count=1)
    acknowledged = 0
    for method, _, _ in channel.consume(queue):
        channel.basic_ack(method.delivery_tag)
        acknowledged += 1
        if acknowledged == MESSAGES:
            break
    channel.cancel()
    time.sleep(seconds)
    when = f'{seconds} s later' if seconds else 'at once'
    print(f'{kind}, killed {when}: {acknowledged} acknowledged, {left()} left; ', end='', flush=True)
else:
    time.sleep(5)
    again = left()
    print('after the kill', 'none' if again == 0 else 'more than 200' if again > 200 else again, 'again')
CLIENT

for suite in bookworm trixie; do
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
