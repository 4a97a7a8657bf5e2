#!/usr/bin/env bash
# Asking whether a queue is there (queue.declare with passive = true) takes no permission on RabbitMQ 4.0.
# RabbitMQ 4.3 refuses it to a user without any permission on that name. The error names "configure", but the permission to read
# or to write is enough. Granting what the error names gives away more than is needed.
#
# Run as root on Debian, with mmdebstrap and iproute2. It makes a Debian of its own in a temporary folder and a RabbitMQ in a network of its own.
set -euo pipefail

# What was seen, by suite and version of Debian's package rabbitmq-server.
declare -A versions=([trixie]=4.0.5-6+deb13u2 [sid]=4.3.6-1)
declare -A expected=(
  [trixie]='permission none: answered
permission read: answered
permission write: answered
permission configure: answered'
  [sid]='permission none: 403 ACCESS_REFUSED - configure access
permission read: answered
permission write: answered
permission configure: answered'
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
import subprocess

guest = pika.BlockingConnection(pika.ConnectionParameters('127.0.0.1'))
guest.channel().queue_declare('jobs', durable=True)
ENVIRONMENT = {'PATH': '/usr/sbin:/usr/bin', 'HOME': '/var/lib/rabbitmq', 'RABBITMQ_NODENAME': 'rabbit@localhost'}


def rabbitmqctl(*words):
    subprocess.run(['setpriv', '--reuid=rabbitmq', '--regid=rabbitmq', '--clear-groups', '/usr/lib/rabbitmq/bin/rabbitmqctl', '-q', *words],
                   check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


rabbitmqctl('add_user', 'worker', 'only-for-this-script')
NONE = '^$'
for what, permissions in (('none', (NONE, NONE, NONE)), ('read', (NONE, NONE, 'jobs')), ('write', (NONE, 'jobs', NONE)), ('configure', ('jobs', NONE, NONE))):
    rabbitmqctl('set_permissions', 'worker', *permissions)
    credentials = pika.PlainCredentials('worker', 'only-for-this-script')
    connection = pika.BlockingConnection(pika.ConnectionParameters('127.0.0.1', credentials=credentials))
    try:
        connection.channel().queue_declare('jobs', passive=True)
        print(f'permission {what}: answered')
    except pika.exceptions.ChannelClosedByBroker as error:
        print(f'permission {what}: {error.reply_code}', error.reply_text.split(' to queue')[0])
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
