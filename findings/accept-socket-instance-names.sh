#!/usr/bin/env bash
# A socket unit with Accept=yes starts a service for each connection, and the instance name of an AF_UNIX peer is the one place where a service
# without SO_PEERCRED of its own finds the peer. Its form is not stable: NUMBER-PID-UID with systemd 257; with 262 a cookie comes first and the
# pid has the id of a pidfd behind it, NUMBER-COOKIE-PID_PIDFD-UID. Reading the second field as the pid gives another number, without an error.
#
# Run as root on Debian, with mmdebstrap and systemd-container. It makes a Debian of its own in a temporary folder and boots it in a container.
set -euo pipefail

# What was seen, by suite and version of Debian's package systemd.
declare -A versions=([trixie]=257.13-1~deb13u1 [sid]=262.1-1)
declare -A expected=(
  [trixie]='peer@0-PID-0.service'
  [sid]='peer@0-COOKIE-PID_PIDFD-0.service'
)

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '/\/debian\/$/ && !found++') # this machine's own
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT

cat >"$work/boot.sh" <<'BOOT'
set -eu
ip link set lo up
mount -t tmpfs -o size=4G tmpfs "$2"
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$2/root"
: >"$2/root/etc/machine-id"
cp "$3" "$2/root/inside.sh"
SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --boot --directory="$2/root" --machine="finding-$$" --register=no --keep-unit \
  --console=pipe --link-journal=no --resolv-conf=off --timezone=off </dev/null >"$2/console" 2>&1 &
nspawn=$!
trap 'kill -KILL "$nspawn"' EXIT
for _ in $(seq 300); do
  leader=$(pgrep --parent "$nspawn" || true)
  [ -n "$leader" ] && nsenter --target="$leader" --all systemctl is-system-running 2>/dev/null | grep -Eq 'running|degraded' && break
  sleep 0.2
done
nsenter --target="$leader" --all bash /inside.sh
BOOT

cat >"$work/inside.sh" <<'INSIDE'
mkdir -p /run/systemd/system
cat >/run/systemd/system/peer@.service <<'UNIT'
[Service]
StandardInput=socket
ExecStart=/usr/bin/sleep 5
UNIT
cat >/run/systemd/system/peer.socket <<'UNIT'
[Socket]
ListenSequentialPacket=/run/peer.sock
Accept=yes
UNIT
systemctl daemon-reload
systemctl start peer.socket
python3 -c '
import os, socket, time
peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
peer.connect("/run/peer.sock")
print(os.getpid(), flush=True)
time.sleep(2)
' >/run/pid &
sleep 1
systemctl list-units --all --plain --no-legend "peer@*" | sed -E "s/ .*//; s/-$(cat /run/pid)([-_])/-PID\\1/; s/_[0-9]+/_PIDFD/; s/@0-[0-9]+-PID/@0-COOKIE-PID/"
INSIDE

for suite in trixie sid; do
  root=$work/$suite
  mmdebstrap --quiet --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' --include=systemd,systemd-sysv,dbus,python3 "$suite" "$root" "$mirror"
  version=$(chroot "$root" dpkg-query --show --showformat='${Version}' systemd)
  echo "Debian $suite, systemd $version"
  if [ "$version" != "${versions[$suite]}" ]; then
    echo "another version, not applicable (seen with ${versions[$suite]})"
    continue
  fi
  mkdir "$work/machine-$suite"
  seen=$(unshare --net --mount --fork --kill-child bash "$work/boot.sh" "$root" "$work/machine-$suite" "$work/inside.sh")
  echo "$seen"
  [ "$seen" = "${expected[$suite]}" ] || { echo "changed: expected"; echo "${expected[$suite]}"; exit 1; }
done
