#!/usr/bin/env bash
# RabbitMQ 4 sorts the header table of every message by its keys. RabbitMQ 3.10 does so only where it adds a header of its own, as a quorum queue does with
# x-delivery-count; a classic queue hands the table on as it came. So a checksum over the bytes of a table, or a program that goes by the order of
# headers, works with classic queues up to 3 and with no queue from 4 on.
#
# Run as root on Debian, with mmdebstrap and iproute2. It makes a Debian of its own in a temporary folder and a RabbitMQ in a network of its own.
set -euo pipefail

# What was seen, by suite and version of Debian's package rabbitmq-server.
declare -A versions=([bookworm]=3.10.8-1.1+deb12u1 [trixie]=4.0.5-6+deb13u2 [sid]=4.3.6-1)
sorted='sent z a m, from a classic queue a m z
sent z a m, from a quorum queue a m z'
declare -A expected=(
  [bookworm]='sent z a m, from a classic queue z a m
sent z a m, from a quorum queue a m z'
  [trixie]=$sorted
  [sid]=$sorted
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

channel = pika.BlockingConnection(pika.ConnectionParameters('127.0.0.1')).channel()
channel.confirm_delivery()
for queue_type in ('classic', 'quorum'):
    channel.queue_declare(queue_type, durable=True, arguments={'x-queue-type': queue_type})
    channel.basic_publish('', queue_type, b'', pika.BasicProperties(headers={'z': 'one', 'a': 'two', 'm': 'three'}))
    headers = channel.basic_get(queue_type, auto_ack=True)[1].headers
    headers.pop('x-delivery-count', None)  # a quorum queue's own
    print('sent z a m, from a', queue_type, 'queue', *headers)
CLIENT

for suite in bookworm trixie sid; do
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
