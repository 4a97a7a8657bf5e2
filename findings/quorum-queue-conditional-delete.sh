#!/usr/bin/env bash
# queue.delete with if-unused or if-empty is not implemented for quorum queues (RabbitMQ 4.0 and 4.3). The answer is no error of the channel, as
# for every other queue.delete that is refused, but the end of the whole connection (540), with all its channels and consumers.
#
# Run as root on Debian, with mmdebstrap and iproute2. It makes a Debian of its own in a temporary folder and a RabbitMQ in a network of its own.
set -euo pipefail

# What was seen, by suite and version of Debian's package rabbitmq-server.
declare -A versions=([trixie]=4.0.5-6+deb13u2 [sid]=4.3.6-1)
declare -A expected=(
  [trixie]='classic if_unused: deleted, connection open: True
classic if_empty: deleted, connection open: True
quorum if_unused: 540 NOT_IMPLEMENTED, connection open: False
quorum if_empty: 540 NOT_IMPLEMENTED, connection open: False'
  [sid]='classic if_unused: deleted, connection open: True
classic if_empty: deleted, connection open: True
quorum if_unused: 540 NOT_IMPLEMENTED, connection open: False
quorum if_empty: 540 NOT_IMPLEMENTED, connection open: False'
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


def delete(queue_type, condition):
    connection = pika.BlockingConnection(pika.ConnectionParameters('127.0.0.1'))
    channel = connection.channel()
    channel.queue_declare(queue_type, durable=True, arguments={'x-queue-type': queue_type})
    try:
        channel.queue_delete(queue_type, **{condition: True})
        outcome = 'deleted'
    except pika.exceptions.AMQPError as error:
        outcome = f'{error.reply_code} {error.reply_text.split()[0]}'
    print(f'{queue_type} {condition}: {outcome}, connection open: {connection.is_open}')
    if connection.is_open:
        connection.close()


for queue_type in ('classic', 'quorum'):
    for condition in ('if_unused', 'if_empty'):
        delete(queue_type, condition)
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
