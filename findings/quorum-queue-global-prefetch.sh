#!/usr/bin/env bash
# A prefetch that is meant for the channel as a whole (basic.qos with global = true) is refused for a quorum queue by RabbitMQ 4.0, with an error.
# RabbitMQ 4.3 answers it with basic.qos-ok and then gives that many messages to each consumer of the channel.
#
# Run as root on Debian, with mmdebstrap and iproute2. It makes a Debian of its own in a temporary folder and a RabbitMQ in a network of its own.
set -euo pipefail

# What was seen, by suite and version of Debian's package rabbitmq-server.
declare -A versions=([trixie]=4.0.5-6+deb13u2 [sid]=4.3.6-1)
declare -A expected=(
  [trixie]='540 NOT_IMPLEMENTED - queue "jobs" in vhost "/" does not support global qos'
  [sid]='unacknowledged on the channel: 6 by consumer: 3 3'
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
parameters = pika.ConnectionParameters('127.0.0.1')
connection = pika.BlockingConnection(parameters)
channel = connection.channel()
channel.queue_declare('jobs', durable=True, arguments={'x-queue-type': 'quorum'})
channel.confirm_delivery()
for _ in range(10):
    channel.basic_publish('', 'jobs', b'job')
consumers = connection.channel()
got = [0, 0]


def count(consumer):
    def delivered(*_):
        got[consumer] += 1
    return delivered


try:
    consumers.basic_qos(prefetch_count=3, global_qos=True)
    for consumer in (0, 1):
        consumers.basic_consume('jobs', count(consumer))
    connection.process_data_events(2)
    print('unacknowledged on the channel:', sum(got), 'by consumer:', *got)
except pika.exceptions.ConnectionClosedByBroker as error:
    print(error.reply_code, error.reply_text.replace("'", '"'))
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
