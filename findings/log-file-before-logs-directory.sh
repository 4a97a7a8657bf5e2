#!/usr/bin/env bash
# LogsDirectory= makes a directory below /var/log for a service. StandardOutput=append: and OpenFile= of the same service open their files before
# that, so that a file in that directory ends the start: exit status 209 (STDOUT) and 202 (FDS). A second start fails in the
# same way, as the failed one has made no directory.
#
# Run as root on Debian, with mmdebstrap and systemd-container. It makes a Debian of its own in a temporary folder and boots it in a container.
set -euo pipefail

# What was seen, by suite and version of Debian's package systemd.
declare -A versions=([trixie]=257.13-1~deb13u1 [sid]=262.1-1)
declare -A expected=(
  [trixie]='StandardOutput=append: 209
OpenFile=: 202
left of the directories: none'
  [sid]='StandardOutput=append: 209
OpenFile=: 202
left of the directories: none'
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
cat >/run/systemd/system/output.service <<'UNIT'
[Service]
Type=oneshot
LogsDirectory=output
StandardOutput=append:/var/log/output/lines
ExecStart=/usr/bin/echo line
UNIT
cat >/run/systemd/system/opened.service <<'UNIT'
[Service]
Type=oneshot
LogsDirectory=opened
OpenFile=/var/log/opened/lines:lines:append
ExecStart=/usr/bin/echo line
UNIT
systemctl daemon-reload
for unit in output opened output opened; do systemctl start "$unit" 2>/dev/null && echo "$unit started"; done
echo "StandardOutput=append: $(systemctl show --property=ExecMainStatus --value output.service)"
echo "OpenFile=: $(systemctl show --property=ExecMainStatus --value opened.service)"
echo "left of the directories: $(ls -d /var/log/output /var/log/opened 2>/dev/null || echo none)"
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
