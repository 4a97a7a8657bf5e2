#!/usr/bin/env bash
# A policy with message-ttl, set for a queue that has messages, does not let them expire: the time of each message was settled when it came. They are still
# delivered long afterwards, and newer ones, whose time is over, are kept and counted behind them. RabbitMQ's guide says that such a queue
# will discard the messages. It is so with classic and with quorum queues (RabbitMQ 4.0 and 4.3). What empties a queue is a purge.
#
# Run as root on Debian, with mmdebstrap and iproute2. It makes a Debian of its own in a temporary folder and a RabbitMQ in a network of its own.
set -euo pipefail

# What was seen, by suite and version of Debian's package rabbitmq-server.
declare -A versions=([trixie]=4.0.5-6+deb13u2 [sid]=4.3.6-1)
declare -A expected=(
  [trixie]='classic: 3 old messages, policy of 1 s in force, 5 s later 3; 2 new ones, 5 s later 5; delivered: old old old
quorum: 3 old messages, policy of 1 s in force, 5 s later 3; 2 new ones, 5 s later 5; delivered: old old old
quorum, nothing old: 2 new ones, 5 s later 0'
  [sid]='classic: 3 old messages, policy of 1 s in force, 5 s later 3; 2 new ones, 5 s later 5; delivered: old old old
quorum: 3 old messages, policy of 1 s in force, 5 s later 3; 2 new ones, 5 s later 5; delivered: old old old
quorum, nothing old: 2 new ones, 5 s later 0'
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
echo '[rabbitmq_management].' >"$1/tmp/plugins"
chroot --userspec=rabbitmq:rabbitmq "$1" env HOME=/var/lib/rabbitmq RABBITMQ_NODENAME=rabbit@localhost ERL_EPMD_ADDRESS=127.0.0.1 \
  RABBITMQ_ENABLED_PLUGINS_FILE=/tmp/plugins /usr/lib/rabbitmq/bin/rabbitmq-server >"$2.log" 2>&1 &
for port in 5672 15672; do
  for _ in $(seq 480); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
    sleep 0.5
  done
done
chroot "$1" /usr/bin/python3 /tmp/client.py
INSIDE

cat >"$work/client.py" <<'CLIENT'
import base64
import json
import time
import urllib.request

import pika

LOGIN = base64.b64encode(b'guest:guest').decode()
TTL = 1
PAUSE = 5  # seconds, several times the TTL
connection = pika.BlockingConnection(pika.ConnectionParameters('127.0.0.1'))
channel = connection.channel()
channel.confirm_delivery()


def ask(method, path, body=None):
    headers = {'Authorization': f'Basic {LOGIN}', 'Content-Type': 'application/json'}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f'http://127.0.0.1:15672/api/{path}', method=method, headers=headers, data=data)
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read()
        return json.loads(text) if text else None


def publish(queue, body, times):
    for _ in range(times):
        channel.basic_publish('', queue, body.encode(), mandatory=True)


def count(queue):
    return channel.queue_declare(queue, passive=True).method.message_count


def set_policy(queue):
    definition = {'message-ttl': TTL * 1_000}
    ask('PUT', f'policies/%2f/{queue}', {'pattern': f'^{queue}$', 'definition': definition, 'apply-to': 'queues'})
    deadline = time.monotonic() + 60
    while ask('GET', f'queues/%2f/{queue}').get('effective_policy_definition') != definition:
        assert time.monotonic() < deadline, 'the policy is not in force'
        time.sleep(0.2)


def delivered(queue):
    bodies = []
    for message, _, body in channel.consume(queue, auto_ack=True, inactivity_timeout=2):
        if message is None:
            break
        bodies.append(body.decode())
    channel.cancel()
    return ' '.join(bodies)


for kind in ('classic', 'quorum'):
    channel.queue_declare(kind, durable=True, arguments={'x-queue-type': kind})
    publish(kind, 'old', 3)
    set_policy(kind)
    time.sleep(PAUSE)
    old = count(kind)
    publish(kind, 'new', 2)
    time.sleep(PAUSE)
    both = count(kind)
    print(f'{kind}: 3 old messages, policy of {TTL} s in force, {PAUSE} s later {old}; 2 new ones, {PAUSE} s later {both}; delivered: {delivered(kind)}')

publish('quorum', 'new', 2)
time.sleep(PAUSE)
print(f"quorum, nothing old: 2 new ones, {PAUSE} s later {count('quorum')}")
connection.close()
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
