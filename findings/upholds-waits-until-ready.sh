#!/usr/bin/env bash
# Upholds= acts for a unit that is active, and a service with Type=notify is active when it has said so. As long as it starts, a unit that it
# upholds and that has stopped stays stopped. So a service that becomes ready only when it has reached what it upholds, a socket that systemd has
# shut for example, waits until its own start times out (systemd 257 and 262).
#
# Run as root on Debian, with mmdebstrap and systemd-container. It makes a Debian of its own in a temporary folder and boots it in a container.
set -euo pipefail

# What was seen, by suite and version of Debian's package systemd.
declare -A versions=([trixie]=257.13-1~deb13u1 [sid]=262.1-1)
declare -A expected=(
  [trixie]='start: holder activating, held active
15 s after held was stopped: holder activating, held inactive
holder is ready: holder active, held active
held was stopped again: holder active, held active'
  [sid]='start: holder activating, held active
15 s after held was stopped: holder activating, held inactive
holder is ready: holder active, held active
held was stopped again: holder active, held active'
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
printf '[Service]\nExecStart=/usr/bin/sleep infinity\n' >"$units/held.service"
cat >"$units/holder.service" <<'UNIT'
[Unit]
Upholds=held.service
[Service]
Type=notify
NotifyAccess=all
ExecStart=/bin/sh -c 'while [ ! -e /run/go ]; do sleep 0.1; done; systemd-notify --ready; exec sleep infinity'
UNIT
systemctl daemon-reload
states() { echo "$1: holder $(systemctl is-active holder), held $(systemctl is-active held)"; }
until_active() {
  for _ in $(seq 100); do
    systemctl --quiet is-active "$1" && break
    sleep 0.1
  done
}
systemctl start --no-block holder
until_active held
states 'start'
systemctl stop held
sleep 15
states '15 s after held was stopped'
touch /run/go
until_active holder
until_active held
states 'holder is ready'
systemctl stop held
until_active held
states 'held was stopped again'
INSIDE

for suite in trixie sid; do
  root=$work/$suite
  mmdebstrap --quiet --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' --include=systemd,systemd-sysv,dbus "$suite" "$root" "$mirror"
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
