#!/usr/bin/env bash
# systemd-run --wait --pipe of a unit whose requirement has failed ends with 0 and no output, as if the program had run and been silent. Without
# --pipe, systemd 252 waits for the job of the unit, says that it has failed, and ends with 1. systemd 257 ends with 0 there, too.
#
# Run as root on Debian, with mmdebstrap and systemd-container. It makes a Debian of its own in a temporary folder and boots it in a container.
set -euo pipefail

# What was seen, by suite and version of Debian's package systemd.
declare -A versions=([bookworm]=252.39-1~deb12u2 [trixie]=257.13-1~deb13u1)
declare -A expected=(
  [bookworm]='it can be met, --wait: exit code 0
it can be met, --wait --pipe: exit code 0 and "ran"
it fails, --wait: exit code 1
it fails, --wait --pipe: exit code 0 and ""'
  [trixie]='it can be met, --wait: exit code 0
it can be met, --wait --pipe: exit code 0 and "ran"
it fails, --wait: exit code 0
it fails, --wait --pipe: exit code 0 and ""'
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
printf '[Service]\nType=oneshot\nExecStart=/usr/bin/true\n' >"$units/met.service"
printf '[Service]\nType=oneshot\nExecStart=/usr/bin/false\n' >"$units/fails.service"
systemctl daemon-reload
try() { systemd-run --quiet --wait --property="Requires=$1" --property="After=$1" "${@:2}" /usr/bin/echo ran 2>/dev/null; }
for requirement in met fails; do
  [ "$requirement" = met ] && what='it can be met' || what='it fails'
  code=0
  try "$requirement.service" >/dev/null || code=$?
  echo "$what, --wait: exit code $code"
  code=0
  output=$(try "$requirement.service" --pipe) || code=$?
  echo "$what, --wait --pipe: exit code $code and \"$output\""
done
INSIDE

for suite in bookworm trixie; do
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
