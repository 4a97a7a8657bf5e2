#!/usr/bin/env bash
# In a cluster a durable classic queue is on one node. While that node is down, another node confirms what is published to the queue by its name, and
# drops it: the queue counts as none, although it is declared, and comes back with the node. Only "mandatory" tells (312 NO_ROUTE), and then there is a
# confirm as well. A program that acknowledges a job once its answer is confirmed loses the answer. A quorum queue takes the message.
#
# Run as root on Debian, with mmdebstrap and iproute2. It makes a Debian of its own in a temporary folder, and two nodes in a network of its own.
set -euo pipefail

# What was seen, by suite and version of Debian's package rabbitmq-server.
declare -A versions=([bookworm]=3.10.8-1.1+deb12u1)
expected='its node runs: confirmed
its node is down: confirmed
its node is down, mandatory: confirmed, and returned with 312 NO_ROUTE
its node is back: 1 of 3 confirmed messages'

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
as_rabbitmq() { root=$1; shift; chroot --userspec=rabbitmq:rabbitmq "$root" env HOME=/var/lib/rabbitmq ERL_EPMD_ADDRESS=127.0.0.1 "$@"; }
start() {
  as_rabbitmq "$1" RABBITMQ_NODENAME="n$2@localhost" RABBITMQ_NODE_PORT="$2" RABBITMQ_DIST_PORT="2$2" RABBITMQ_PID_FILE="/tmp/pid-$2" \
    RABBITMQ_ENABLED_PLUGINS_FILE=/tmp/plugins /usr/lib/rabbitmq/bin/rabbitmq-server >>"$3.log" 2>&1 &
  for _ in $(seq 240); do
    (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null && break
    sleep 0.5
  done
}
ctl() { as_rabbitmq "$1" /usr/lib/rabbitmq/bin/rabbitmqctl --quiet --node "n$2@localhost" "${@:3}" >>/dev/null; }
start "$1" 5001 "$2"
start "$1" 5002 "$2"
ctl "$1" 5002 stop_app
ctl "$1" 5002 join_cluster n5001@localhost
ctl "$1" 5002 start_app
ctl "$1" 5002 await_startup
chroot "$1" /usr/bin/python3 /tmp/client.py declare
kill -KILL "$(cat "$1/tmp/pid-5002")"
while kill -0 "$(cat "$1/tmp/pid-5002")" 2>/dev/null; do sleep 0.1; done
chroot "$1" /usr/bin/python3 /tmp/client.py publish
start "$1" 5002 "$2"
ctl "$1" 5002 await_startup
chroot "$1" /usr/bin/python3 /tmp/client.py count
INSIDE

cat >"$work/client.py" <<'CLIENT'
import sys
import time
import pika


def channel_at(port):
    return pika.BlockingConnection(pika.ConnectionParameters('127.0.0.1', port)).channel()


def publish(channel, when, mandatory=False):
    try:
        channel.basic_publish('', 'answers', b'answer', pika.BasicProperties(delivery_mode=2), mandatory)
        print(f'{when}: confirmed')
    except pika.exceptions.UnroutableError as error:  # pika waits for the confirm, and then tells what came back
        method = error.messages[0].method
        print(f'{when}, mandatory: confirmed, and returned with {method.reply_code} {method.reply_text}')
    except pika.exceptions.NackError:
        print(f'{when}: refused')


def node_is_gone():
    """The other node notices a moment after the end."""
    while True:
        channel = channel_at(5001)
        try:
            channel.queue_declare('answers', passive=True)
        except pika.exceptions.ChannelClosedByBroker:
            return
        time.sleep(0.1)


do = sys.argv[1]
if do == 'declare':
    channel = channel_at(5002)
    channel.queue_declare('answers', durable=True)
    channel.confirm_delivery()
    publish(channel, 'its node runs')
elif do == 'publish':
    node_is_gone()
    channel = channel_at(5001)
    channel.confirm_delivery()
    publish(channel, 'its node is down')
    publish(channel, 'its node is down', mandatory=True)
else:
    count = channel_at(5001).queue_declare('answers', passive=True).method.message_count
    print(f'its node is back: {count} of 3 confirmed messages')
CLIENT

for suite in "${!versions[@]}"; do
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
