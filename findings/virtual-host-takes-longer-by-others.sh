#!/usr/bin/env bash
# In RabbitMQ 3.10 and 4.0 a new virtual host takes the longer the more there are, although it has nothing to do with them: RabbitMQ goes through the durable
# exchanges of all virtual hosts, with a transaction for each, and each virtual host comes with seven of them. The 300th takes several times as long as the
# first ones, and a processor all the while. In 4.3, which keeps its definitions in Khepri and not in Mnesia, it takes as long as the first.
#
# Run as root on Debian, with mmdebstrap and iproute2. It makes a Debian of its own in a temporary folder and a RabbitMQ in a network of its own.
set -euo pipefail

# What was seen, by suite and version of Debian's package rabbitmq-server.
declare -A versions=([bookworm]=3.10.8-1.1+deb12u1 [trixie]=4.0.5-6+deb13u2 [sid]=4.3.6-1)
declare -A expected=(
  [bookworm]='the last 20 of 320 virtual hosts took more than 3 times as long as the first 20: yes'
  [trixie]='the last 20 of 320 virtual hosts took more than 3 times as long as the first 20: yes'
  [sid]='the last 20 of 320 virtual hosts took more than 3 times as long as the first 20: no'
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
for _ in $(seq 120); do
  (exec 3<>/dev/tcp/127.0.0.1/15672) 2>/dev/null && break
  sleep 0.5
done
chroot "$1" /usr/bin/python3 /tmp/client.py
INSIDE

cat >"$work/client.py" <<'CLIENT'
import base64
import sys
import time
import urllib.request

COUNT = 320
EDGE = 20
LOGIN = base64.b64encode(b'guest:guest').decode()


def make(name):
    url = f'http://127.0.0.1:15672/api/vhosts/{name}'
    request = urllib.request.Request(url, method='PUT', headers={'Authorization': f'Basic {LOGIN}', 'Content-Type': 'application/json'})
    began = time.monotonic()
    with urllib.request.urlopen(request, data=b'{}', timeout=60):
        return time.monotonic() - began


times = [make(f'v{number}') for number in range(COUNT)]
first, last = sorted(times[:EDGE])[EDGE // 2], sorted(times[-EDGE:])[EDGE // 2]
print(f'medians: {first * 1_000:.0f} ms, {last * 1_000:.0f} ms', file=sys.stderr)
answer = 'yes' if last > 3 * first else 'no'
print(f'the last {EDGE} of {COUNT} virtual hosts took more than 3 times as long as the first {EDGE}: {answer}')
CLIENT

for suite in bookworm trixie sid; do
  root=$work/$suite
  mmdebstrap --quiet --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' --include=rabbitmq-server,python3 "$suite" "$root" "$mirror"
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
