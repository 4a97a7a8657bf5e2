#!/usr/bin/env bash
# A classic queue of RabbitMQ with x-max-length and x-overflow = reject-publish drops messages from its head when its node starts, also after an orderly
# stop. It had confirmed them, and reject-publish is there so that none is dropped. The length counts only what no consumer has in hand: with all places
# taken and U messages in hand the queue has U too many once they are back. While the node runs it keeps them all, where the consumer's connection ends.
# At a start it goes by the length before it goes by the overflow, whose default is drop-head: the U oldest are gone, which are those that were in hand.
# A dead-letter exchange gets them, with the reason "maxlen". A policy does the same as arguments do. A quorum queue, which takes one message more, drops none.
#
# Run as root on Debian, with mmdebstrap and iproute2. It makes a Debian of its own in a temporary folder and a RabbitMQ in a network of its own.
set -euo pipefail

# What was seen, by suite and version of Debian's package rabbitmq-server.
declare -A versions=([bookworm]=3.10.8-1.1+deb12u1 [trixie]=4.0.5-6+deb13u2 [sid]=4.3.6-1)
same='classic: 7 confirmed, 1 refused; consumer gone: 7 there; node started anew: 5 there (2 3 4 5 6)
classic-policy: 7 confirmed, 1 refused; consumer gone: 7 there; node started anew: 5 there (2 3 4 5 6)
classic-dlx: 7 confirmed, 1 refused; consumer gone: 7 there; node started anew: 5 there (2 3 4 5 6), dead letters 0 (maxlen) 1 (maxlen)
quorum: 8 confirmed, 1 refused; consumer gone: 8 there; node started anew: 8 there (0 1 2 3 4 5 6 7)'
declare -A expected=([bookworm]=$same [trixie]=$same [sid]=$same)

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
in_debian() {
  chroot --userspec=rabbitmq:rabbitmq "$root" env HOME=/var/lib/rabbitmq RABBITMQ_NODENAME=rabbit@localhost ERL_EPMD_ADDRESS=127.0.0.1 \
    RABBITMQ_PID_FILE=/tmp/pid RABBITMQ_ENABLED_PLUGINS_FILE=/tmp/plugins "$@"
}
root=$1
start() {
  in_debian /usr/lib/rabbitmq/bin/rabbitmq-server >>"$root.log" 2>&1 &
  for _ in $(seq 120); do
    (exec 3<>/dev/tcp/127.0.0.1/5672) 2>/dev/null && break
    sleep 0.5
  done
}
start
in_debian /usr/lib/rabbitmq/bin/rabbitmqctl --quiet set_policy length '^classic-policy$' '{"max-length":5,"overflow":"reject-publish"}' >>"$root.log" 2>&1
for queue in classic classic-policy classic-dlx quorum; do
  chroot "$root" /usr/bin/python3 /tmp/client.py fill $queue
  pid=$(cat "$root/tmp/pid")
  kill -TERM "$pid"
  while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
  start
  chroot "$root" /usr/bin/python3 /tmp/client.py count $queue
done
INSIDE

cat >"$work/client.py" <<'CLIENT'
import sys
import time
import pika

LENGTH, IN_HAND = 5, 2
LIMITED = {'x-max-length': LENGTH, 'x-overflow': 'reject-publish'}
ARGUMENTS = {
    'classic': LIMITED,
    'classic-policy': {},
    'classic-dlx': {**LIMITED, 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead'},
    'quorum': {**LIMITED, 'x-queue-type': 'quorum'},
}
do, queue = sys.argv[1:3]
connect = lambda: pika.BlockingConnection(pika.ConnectionParameters('127.0.0.1'))
channel = connect().channel()
left = lambda: channel.queue_declare(queue, passive=True).method.message_count
confirmed, refused = 0, 0


def publish():
    global confirmed, refused
    try:
        channel.basic_publish('', queue, str(confirmed).encode(), pika.BasicProperties(delivery_mode=2))
        confirmed += 1
    except pika.exceptions.NackError:
        refused += 1


if do == 'fill':
    channel.queue_declare(queue, durable=True, arguments=ARGUMENTS[queue])
    channel.queue_declare('dead', durable=True)
    time.sleep(2)
    channel.confirm_delivery()
    for _ in range(LENGTH):
        publish()
    consumer = connect()
    consuming = consumer.channel()
    consuming.basic_qos(prefetch_count=IN_HAND)
    in_hand = []
    consuming.basic_consume(queue, lambda *delivered: in_hand.append(delivered))
    while len(in_hand) < IN_HAND:
        consumer.process_data_events(0.1)
    while refused == 0:
        publish()
    consumer.close()
    time.sleep(1)
    print(f'{queue}: {confirmed} confirmed, {refused} refused; consumer gone: {left()} there; ', end='', flush=True)
else:
    time.sleep(2)
    of = lambda name: [got for got in iter(lambda: channel.basic_get(name, auto_ack=True), (None, None, None))]
    there = [body.decode() for _, _, body in of(queue)]
    dead = [f"{body.decode()} ({properties.headers['x-death'][0]['reason']})" for _, properties, body in of('dead')]
    letters = f", dead letters {' '.join(dead)}" if dead else ''
    print(f"node started anew: {len(there)} there ({' '.join(there)}){letters}")
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
