#!/usr/bin/env bash
# A reply by direct reply-to (amq.rabbitmq.reply-to) that is published with the mandatory flag tells the wrong thing, each version another one.
# RabbitMQ 4.0 delivers the reply to a client that waits for it, and returns it to the server as unroutable all the same.
# RabbitMQ 4.3 does not return it; but nor does it when the client has gone: a reply that nobody gets is confirmed.
# What tells is a passive declare of the reply queue: 404 in both when the client has gone.
#
# Run as root on Debian, with mmdebstrap and iproute2. It makes a Debian of its own in a temporary folder and a RabbitMQ in a network of its own.
set -euo pipefail

# What was seen, by suite and version of Debian's package rabbitmq-server.
declare -A versions=([trixie]=4.0.5-6+deb13u2 [sid]=4.3.6-1)
declare -A expected=(
  [trixie]='client waits: returned as unroutable; client has got: first
client has gone: returned as unroutable
passive declare of the reply queue then: 404'
  [sid]='client waits: confirmed; client has got: first
client has gone: confirmed
passive declare of the reply queue then: 404'
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


def connect():
    connection = pika.BlockingConnection(pika.ConnectionParameters('127.0.0.1'))
    channel = connection.channel()
    channel.confirm_delivery()
    return connection, channel


replies = []
client, asking = connect()
_, serving = connect()
asking.basic_consume('amq.rabbitmq.reply-to', lambda _channel, _method, _properties, body: replies.append(body.decode()), auto_ack=True)
asking.queue_declare('requests', durable=True)
asking.basic_publish('', 'requests', b'request', pika.BasicProperties(reply_to='amq.rabbitmq.reply-to'))
_, request, _ = serving.basic_get('requests', auto_ack=True)


def answer(reply):
    try:
        serving.basic_publish('', request.reply_to, reply, mandatory=True)
        return 'confirmed'
    except pika.exceptions.UnroutableError:
        return 'returned as unroutable'


outcome = answer(b'first')
client.process_data_events(2)
print(f'client waits: {outcome}; client has got: {", ".join(replies)}')
client.close()
time.sleep(2)
print('client has gone:', answer(b'second'))
try:
    serving.queue_declare(request.reply_to, passive=True)
except pika.exceptions.ChannelClosedByBroker as error:
    print('passive declare of the reply queue then:', error.reply_code)
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
