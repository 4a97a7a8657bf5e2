#!/usr/bin/env bash
# A socket unit with Accept=yes and TriggerLimitBurst=200 is shut by systemd 252 when more connect within 2 seconds. From 255 on PollLimitBurst= has a
# default of 150 in 2 seconds, which is reached first: PID 1 lets all others wait until the time is over, and the trigger limit is never hit.
# OnFailure= of the socket unit never acts (systemd 257 and 262).
#
# Run as root on Debian, with mmdebstrap and systemd-container. It makes a Debian of its own in a temporary folder and boots it in a container.
set -euo pipefail

# What was seen, by suite and version of Debian's package systemd.
declare -A versions=([trixie]=257.13-1~deb13u1 [sid]=262.1-1)
declare -A expected=(
  [trixie]='320 of 320 connections were taken, the longest wait was more than a second
ActiveState=active,Result=success'
  [sid]='320 of 320 connections were taken, the longest wait was more than a second
ActiveState=active,Result=success'
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
units=/run/systemd/system
mkdir -p "$units"
cat >"$units/knock.socket" <<'UNIT'
[Socket]
ListenStream=/run/knock
Accept=yes
MaxConnections=1
TriggerLimitIntervalSec=2s
TriggerLimitBurst=200
UNIT
printf '[Service]\nStandardInput=socket\nExecStart=/usr/bin/sleep 60\n' >"$units/knock@.service"
systemctl daemon-reload
systemctl start knock.socket
python3 - <<'PYTHON'
import socket, time
begin, made, waited = time.monotonic(), 0, 0.0
while made < 320:
    client, before = socket.socket(socket.AF_UNIX), time.monotonic()
    client.settimeout(5)
    try:
        client.connect("/run/knock")
        client.recv(1) if made else None  # the first one is served, all others are told to go
    except OSError:
        break
    waited = max(waited, time.monotonic() - before)
    made += 1
print(f"{made} of 320 connections were taken, the longest wait was {'more' if waited > 1 else 'less'} than a second")
PYTHON
systemctl show knock.socket --property=ActiveState,Result | sort | paste --serial --delimiters=,
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
