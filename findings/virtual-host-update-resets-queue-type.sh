#!/usr/bin/env bash
# PUT /api/vhosts/NAME of the management API takes away what its body does not name: description and tags are empty after {"tracing": true}. RabbitMQ 4.3
# sets the default queue type back to classic as well; 4.0 keeps it. A program that declares its quorum queue without a type, as it always did, is
# refused from then on (406). The same comes of an empty body, as in a script that makes its virtual host again at each run.
#
# Run as root on Debian, with mmdebstrap and iproute2. It makes a Debian of its own in a temporary folder and a RabbitMQ in a network of its own.
set -euo pipefail

# What was seen, by suite and version of Debian's package rabbitmq-server.
declare -A versions=([trixie]=4.0.5-6+deb13u2 [sid]=4.3.6-1)
declare -A expected=(
  [trixie]='body {"tracing": true}: description "jobs of the team" -> "", tags ["team"] -> [], default queue type quorum -> quorum; declare: 200
body {}: description "jobs of the team" -> "", tags ["team"] -> [], default queue type quorum -> quorum; declare: 200
body {"description": "new"}: description "jobs of the team" -> "new", tags ["team"] -> [], default queue type quorum -> quorum; declare: 200'
  [sid]='body {"tracing": true}: description "jobs of the team" -> "", tags ["team"] -> [], default queue type quorum -> classic; declare: 406
body {}: description "jobs of the team" -> "", tags ["team"] -> [], default queue type quorum -> classic; declare: 406
body {"description": "new"}: description "jobs of the team" -> "new", tags ["team"] -> [], default queue type quorum -> classic; declare: 406'
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
import urllib.request

import pika

LOGIN = base64.b64encode(b'guest:guest').decode()


def ask(method, path, body=None):
    headers = {'Authorization': f'Basic {LOGIN}', 'Content-Type': 'application/json'}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f'http://127.0.0.1:15672/api/{path}', method=method, headers=headers, data=data)
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read()
        return json.loads(text) if text else None


def declare(vhost):
    """As a program does it at each of its starts: with its name and nothing else."""
    connection = pika.BlockingConnection(pika.ConnectionParameters('127.0.0.1', virtual_host=vhost))
    try:
        connection.channel().queue_declare('jobs', durable=True)
        return 200
    except pika.exceptions.ChannelClosedByBroker as error:
        return error.reply_code
    finally:
        connection.close()


def metadata(vhost):
    kept = ask('GET', f'vhosts/{vhost}')['metadata']
    return json.dumps(kept['description']), json.dumps(kept['tags']), kept['default_queue_type']


for number, body in enumerate([{'tracing': True}, {}, {'description': 'new'}]):
    vhost = f'team-{number}'
    ask('PUT', f'vhosts/{vhost}', {'description': 'jobs of the team', 'tags': 'team', 'default_queue_type': 'quorum'})
    ask('PUT', f'permissions/{vhost}/guest', {'configure': '.*', 'write': '.*', 'read': '.*'})
    assert declare(vhost) == 200
    before = metadata(vhost)
    ask('PUT', f'vhosts/{vhost}', body)
    pairs = [f'{name} {old} -> {new}' for name, old, new in zip(('description', 'tags', 'default queue type'), before, metadata(vhost))]
    print(f"body {json.dumps(body)}: {', '.join(pairs)}; declare: {declare(vhost)}")
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
