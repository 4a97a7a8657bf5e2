#!/usr/bin/env bash
# RestartPreventExitStatus= says which exit codes mean that a service is not to be started again. Upholds= of another unit does not ask it: the
# service is started again and again, at once and without RestartSec=, here until it reaches its start limit of 4 (systemd 257 and 262).
#
# Run as root on Debian, with mmdebstrap and systemd-container. It makes a Debian of its own in a temporary folder and boots it in a container.
set -euo pipefail

# What was seen, by suite and version of Debian's package systemd.
declare -A versions=([trixie]=257.13-1~deb13u1 [sid]=262.1-1)
declare -A expected=(
  [trixie]='refuses.service: starts 1
holder.service: starts 4'
  [sid]='refuses.service: starts 1
holder.service: starts 4'
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
cat >"$units/refuses.service" <<'UNIT'
[Unit]
StartLimitIntervalSec=1h
StartLimitBurst=4
[Service]
Restart=always
RestartSec=1h
RestartPreventExitStatus=78
ExecStart=/bin/sh -c 'echo start >>/run/starts; exit 78'
UNIT
printf '[Unit]\nUpholds=refuses.service\n[Service]\nExecStart=/usr/bin/sleep infinity\n' >"$units/holder.service"
systemctl daemon-reload
count() {
  : >/run/starts
  systemctl start "$1"
  sleep 15
  echo "$1: starts $(wc -l </run/starts)"
  systemctl reset-failed refuses
}
count refuses.service
count holder.service
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
