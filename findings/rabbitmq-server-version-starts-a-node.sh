#!/usr/bin/env bash
# rabbitmq-server has no options: "rabbitmq-server --version" prints no version, it starts a node, which makes its data and listens for clients until it is
# ended. The version is what "rabbitmqctl version" prints, without a node. Run by root, Debian's script starts it as the account rabbitmq.
#
# Run as root on Debian, with mmdebstrap and iproute2. It makes a Debian of its own in a temporary folder and a RabbitMQ in a network of its own.
set -euo pipefail

# What was seen, by suite and version of Debian's package rabbitmq-server.
declare -A versions=([bookworm]=3.10.8-1.1+deb12u1 [trixie]=4.0.5-6+deb13u2)
expected='rabbitmq-server --version: listens for clients, runs until it is ended, has made data
rabbitmqctl version: the version, exit code 0'

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '/\/debian\/$/ && !found++') # this machine's own
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT

cat >"$work/inside.sh" <<'INSIDE'
set -eu
ip link set lo up
mount -t tmpfs tmpfs "$1/tmp"
mount -t proc proc "$1/proc"
echo '127.0.0.1 localhost' >"$1/etc/hosts"
rm -rf "$1"/var/lib/rabbitmq/mnesia
chroot "$1" env RABBITMQ_NODENAME=rabbit@localhost ERL_EPMD_ADDRESS=127.0.0.1 /usr/sbin/rabbitmq-server --version >"$1.log" 2>&1 &
server=$!
listens='listens for nobody'
for _ in $(seq 120); do
  (exec 3<>/dev/tcp/127.0.0.1/5672) 2>/dev/null && listens='listens for clients' && break
  sleep 0.5
done
runs='has ended'
kill -0 "$server" 2>/dev/null && runs='runs until it is ended'
made='has made none'
[ -n "$(ls -A "$1/var/lib/rabbitmq/mnesia" 2>/dev/null)" ] && made='has made data'
echo "rabbitmq-server --version: $listens, $runs, $made"
code=0
version=$(chroot "$1" /usr/sbin/rabbitmqctl version 2>/dev/null) || code=$?
case $2 in "$version"-*) version='the version' ;; esac
echo "rabbitmqctl version: $version, exit code $code"
INSIDE

for suite in bookworm trixie; do
  root=$work/$suite
  mmdebstrap --quiet --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' --include=rabbitmq-server "$suite" "$root" "$mirror"
  version=$(chroot "$root" dpkg-query --show --showformat='${Version}' rabbitmq-server)
  echo "Debian $suite, rabbitmq-server $version"
  if [ "$version" != "${versions[$suite]}" ]; then
    echo "another version, not applicable (seen with ${versions[$suite]})"
    continue
  fi
  seen=$(unshare --net --mount --pid --ipc --fork --kill-child bash "$work/inside.sh" "$root" "$version")
  echo "$seen"
  [ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; tail -5 "$root.log"; exit 1; }
done
