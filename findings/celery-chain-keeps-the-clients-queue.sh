#!/usr/bin/env bash
# The tasks of a Celery chain do not answer where the message of the first one says. With the result backend rpc:// the client writes its queue of results
# into the body, into the options of each later task, as well as into the property reply_to of the first. Something between client and worker that puts
# another reply_to in, to see or to judge the answers, gets the first result alone: the worker sends each later task with the client's own queue, and the
# last result goes there. The correlation ids of later tasks are in no message that has passed in between, except in that body.
#
# Run as root on Debian, with mmdebstrap and iproute2. It makes a Debian of its own in a temporary folder, with RabbitMQ and a Celery worker in a network
# of its own.
set -euo pipefail

# What was seen, by suite and version of Debian's package python3-celery.
declare -A versions=([bookworm]=5.2.6-5 [trixie]=5.5.2-2)
expected='sent by the client: reply_to is its own queue
handed on with reply_to "between"
answers in "between": 1, of the first task
the client has the result of the last task: 6'

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '/\/debian\/$/ && !found++') # this machine's own
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT

cat >"$work/tasks.py" <<'TASKS'
import os
from celery import Celery

app = Celery('tasks', broker='pyamqp://guest@127.0.0.1//', backend='rpc://')
# The worker takes from "done", where the first task is put by hand and the later ones by itself.
app.conf.task_default_queue = os.environ['QUEUE']


@app.task
def add(one, other):
    return one + other
TASKS

cat >"$work/client.py" <<'CLIENT'
import json
import time
import pika
from celery import chain
from tasks import add

channel = pika.BlockingConnection(pika.ConnectionParameters('127.0.0.1')).channel()
channel.queue_declare('between')
channel.queue_declare('asked', durable=True)
result = chain(add.s(1, 2), add.s(3)).apply_async()

method = None
while method is None:
    time.sleep(0.1)
    method, properties, body = channel.basic_get('asked', auto_ack=True)
own = add.app.backend.oid
print('sent by the client: reply_to is', 'its own queue' if properties.reply_to == own else properties.reply_to)
properties.reply_to = 'between'
channel.queue_declare('done', durable=True)
channel.basic_publish('', 'done', body, properties)
print('handed on with reply_to "between"', flush=True)

last = result.get(timeout=60)
answers = []
while True:
    method, _, body = channel.basic_get('between', auto_ack=True)
    if method is None:
        break
    answers.append(json.loads(body)['task_id'])
of = 'of the first task' if answers == [result.parent.id] else answers
print(f'answers in "between": {len(answers)}, {of}')
print('the client has the result of the last task:', last)
CLIENT

cat >"$work/inside.sh" <<'INSIDE'
set -eu
ip link set lo up
mount -t tmpfs tmpfs "$1/tmp"
mount -t proc proc "$1/proc"
echo '127.0.0.1 localhost' >"$1/etc/hosts"
cp "$2" "$3" "$1/tmp"
echo '[].' >"$1/tmp/plugins"
chroot --userspec=rabbitmq:rabbitmq "$1" env HOME=/var/lib/rabbitmq RABBITMQ_NODENAME=rabbit@localhost ERL_EPMD_ADDRESS=127.0.0.1 \
  RABBITMQ_ENABLED_PLUGINS_FILE=/tmp/plugins /usr/lib/rabbitmq/bin/rabbitmq-server >>"$1.log" 2>&1 &
for _ in $(seq 120); do
  (exec 3<>/dev/tcp/127.0.0.1/5672) 2>/dev/null && break
  sleep 0.5
done
chroot --userspec=nobody "$1" env HOME=/tmp PYTHONPATH=/tmp PYTHONDONTWRITEBYTECODE=1 QUEUE=done sh -c \
  'cd /tmp && exec celery --app tasks worker --pool solo --loglevel warning' >>"$1.log" 2>&1 &
chroot --userspec=nobody "$1" env HOME=/tmp PYTHONPATH=/tmp PYTHONDONTWRITEBYTECODE=1 QUEUE=asked python3 /tmp/client.py
INSIDE
for suite in bookworm trixie; do
  root=$work/$suite
  mmdebstrap --quiet --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' \
    --include=rabbitmq-server,python3-celery,celery,python3-pika "$suite" "$root" "$mirror"
  version=$(chroot "$root" dpkg-query --show --showformat='${Version}' python3-celery)
  echo "Debian $suite, python3-celery $version"
  if [ "$version" != "${versions[$suite]}" ]; then
    echo "another version, not applicable (seen with ${versions[$suite]})"
    continue
  fi
  seen=$(unshare --net --mount --pid --ipc --fork --kill-child bash "$work/inside.sh" "$root" "$work/tasks.py" "$work/client.py")
  echo "$seen"
  [ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; tail -20 "$root.log"; exit 1; }
done
