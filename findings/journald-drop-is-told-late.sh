#!/usr/bin/env bash
# When journald drops lines of a unit (LogRateLimitIntervalSec=, LogRateLimitBurst=), it says so with the next line of that unit that it takes
# after the interval. A unit that ends, or falls silent, right after its burst leaves a log with a hole and no word about it.
# And the burst is not the configured number: journald multiplies it by a factor of the free space on the disk (systemd 257 and 262), here
# 3 on a tmpfs of 4 GiB.
#
# Run as root on Debian, with mmdebstrap and systemd-container. It makes a Debian of its own in a temporary folder and boots it in a container.
set -euo pipefail

# What was seen, by suite and version of Debian's package systemd.
declare -A versions=([trixie]=257.13-1~deb13u1 [sid]=262.1-1)
declare -A expected=(
  [trixie]='lines kept: 300 of 3000; lines that tell of the drop: 0
after the next line of the unit: Suppressed 2700 messages from noisy.service'
  [sid]='lines kept: 300 of 3000; lines that tell of the drop: 0
after the next line of the unit: Suppressed 2700 messages from noisy.service'
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
cat >/run/systemd/system/noisy.service <<'UNIT'
[Service]
Type=oneshot
LogRateLimitIntervalSec=10s
LogRateLimitBurst=100
ExecStart=/usr/bin/seq --format='line %.0f' 3000
UNIT
systemctl daemon-reload
systemctl start noisy.service
sleep 30 # three intervals
journalctl --sync
kept=$(journalctl --unit=noisy.service --output=cat | grep -c '^line')
echo "lines kept: $kept of 3000; lines that tell of the drop: $(journalctl --output=cat | grep -c '^Suppressed')"
systemctl start noisy.service
for _ in $(seq 50); do
  journalctl --sync
  journalctl --output=cat | grep -q '^Suppressed' && break
  sleep 0.2
done
echo "after the next line of the unit: $(journalctl --output=cat | grep '^Suppressed')"
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
