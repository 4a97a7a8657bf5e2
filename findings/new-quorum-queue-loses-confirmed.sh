#!/usr/bin/env bash
# A quorum queue that was declared a moment ago loses messages that RabbitMQ has confirmed, when its node is killed (SIGKILL) within about a second.
# The confirm says that the message is on disk. The queue's registration is not: RabbitMQ writes it a second later. Nothing that a client can
# ask tells when that is done. A queue that is two seconds old keeps what was confirmed.
#
# Run as root on Debian, with mmdebstrap and iproute2. It makes a Debian of its own in a temporary folder and a RabbitMQ in a network of its own.
set -euo pipefail

# What was seen, by suite and version of Debian's package rabbitmq-server.
declare -A versions=([trixie]=4.0.5-6+deb13u2 [sid]=4.3.6-1)
expected='declared 0 s before: 0 of 1 confirmed messages
declared 2 s before: 1 of 1 confirmed messages'

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
for age in 0 2; do
  chroot "$1" /usr/bin/python3 /tmp/client.py publish "$age"
  pid=$(cat "$1/tmp/pid")
  kill -KILL "$pid"
  while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
  start "$1" "$2"
  chroot "$1" /usr/bin/python3 /tmp/client.py count "$age"
done
INSIDE

cat >"$work/client.py" <<'CLIENT'
import sys
import time
import pika

do, age = sys.argv[1], int(sys.argv[2])
channel = pika.BlockingConnection(pika.ConnectionParameters('127.0.0.1')).channel()
queue = f'declared-{age}'
channel.queue_declare(queue, durable=True, arguments={'x-queue-type': 'quorum'})
if do == 'publish':
    time.sleep(age)
    channel.confirm_delivery()
    channel.basic_publish('', queue, b'job', pika.BasicProperties(delivery_mode=2))
else:
    time.sleep(5)
    count = channel.queue_declare(queue, passive=True).method.message_count
    print(f'declared {age} s before: {count} of 1 confirmed messages')
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
  [ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
done
