#!/usr/bin/env bash
# The management API answers 200 for a quorum queue that was declared a moment ago, with its arguments and without its policy: the keys "policy" and
# "effective_policy_definition" are not null, they are missing, although the policy is in force. They come with the queue's first statistics, some
# seconds later. A program that takes a missing key for "no policy" is wrong for that long.
#
# Run as root on Debian, with mmdebstrap and iproute2. It makes a Debian of its own in a temporary folder and a RabbitMQ in a network of its own.
set -euo pipefail

# What was seen, by suite and version of Debian's package rabbitmq-server.
declare -A versions=([trixie]=4.0.5-6+deb13u2 [sid]=4.3.6-1)
expected='at once: arguments yes, policy missing
after 20 s: arguments yes, policy lifted'

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
  for _ in $(seq 120); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
    sleep 0.5
  done
done
sleep 10
chroot "$1" /usr/bin/python3 /tmp/client.py
INSIDE

cat >"$work/client.py" <<'CLIENT'
import base64
import json
import time
import urllib.request
import pika

API = 'http://127.0.0.1:15672/api'
LOGIN = base64.b64encode(b'guest:guest').decode()


def ask(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {'authorization': f'Basic {LOGIN}', 'content-type': 'application/json'}
    with urllib.request.urlopen(urllib.request.Request(f'{API}/{path}', data, headers, method=method)) as answer:
        return json.loads(answer.read() or b'null')


def look(when):
    queue = ask('GET', 'queues/%2F/jobs')
    arguments = 'yes' if queue.get('arguments', {}).get('x-queue-type') == 'quorum' else 'no'
    print(f"{when}: arguments {arguments}, policy {queue.get('policy', 'missing')}")


ask('PUT', 'policies/%2F/lifted', {'pattern': '^jobs$', 'definition': {'delivery-limit': -1}, 'apply-to': 'quorum_queues'})
channel = pika.BlockingConnection(pika.ConnectionParameters('127.0.0.1')).channel()
channel.queue_declare('jobs', durable=True, arguments={'x-queue-type': 'quorum'})
look('at once')
time.sleep(20)
look('after 20 s')
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
