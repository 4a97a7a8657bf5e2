#!/usr/bin/env bash
# "systemctl daemon-reload" gives a new RuntimeMaxSec= to services that run already, and counts from their start: one that has run for longer is ended by
# the reload itself. So a drop-in for all instances of a template, meant for their next start, ends all old ones at the next reload, be it one
# of a package upgrade. A service that waits for RestartSec= is started at once when the new one is over. A new WatchdogSec= waits for the next
# start (systemd 257 and 262).
#
# Run as root on Debian, with mmdebstrap and systemd-container. It makes a Debian of its own in a temporary folder and boots it in a container.
set -euo pipefail

# What was seen, by suite and version of Debian's package systemd.
declare -A versions=([trixie]=257.13-1~deb13u1 [sid]=262.1-1)
declare -A expected=(
  [trixie]='runs@old.service, started 5 s ago, without a limit: active
after a drop-in with RuntimeMaxSec=3 that nobody has loaded: active
after daemon-reload: failed (timeout)
runs@new.service, started after that: active
pings.service after a drop-in with WatchdogSec=1, daemon-reload and 4 s: active, watchdog 0
waits.service, starts within 4 s with RestartSec=1h: 1
after a drop-in with RestartSec=2 and daemon-reload: 2'
  [sid]='runs@old.service, started 5 s ago, without a limit: active
after a drop-in with RuntimeMaxSec=3 that nobody has loaded: active
after daemon-reload: failed (timeout)
runs@new.service, started after that: active
pings.service after a drop-in with WatchdogSec=1, daemon-reload and 4 s: active, watchdog 0
waits.service, starts within 4 s with RestartSec=1h: 1
after a drop-in with RestartSec=2 and daemon-reload: 2'
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
printf '[Service]\nExecStart=/usr/bin/sleep infinity\n' | tee "$units/runs@.service" >"$units/pings.service"
printf '[Service]\nRestart=always\nRestartSec=1h\nExecStart=/bin/sh -c "echo start >>/run/starts; exit 1"\n' >"$units/waits.service"
systemctl daemon-reload
drop_in() {
  mkdir "$units/$1.d"
  printf '[Service]\n%s\n' "$2" >"$units/$1.d/limit.conf"
}
state() { systemctl is-active "$1"; }

systemctl start runs@old.service pings.service waits.service
sleep 5
echo "runs@old.service, started 5 s ago, without a limit: $(state runs@old.service)"
drop_in runs@.service RuntimeMaxSec=3
sleep 1
echo "after a drop-in with RuntimeMaxSec=3 that nobody has loaded: $(state runs@old.service)"
systemctl daemon-reload
for _ in $(seq 20); do # much less than the 3 s of a new start
  [ "$(state runs@old.service)" = failed ] && break
  sleep 0.1
done
echo "after daemon-reload: $(state runs@old.service) ($(systemctl show --property=Result --value runs@old.service))"
systemctl start runs@new.service
echo "runs@new.service, started after that: $(state runs@new.service)"

drop_in pings.service $'WatchdogSec=1\nNotifyAccess=all'
systemctl daemon-reload
sleep 4
echo "pings.service after a drop-in with WatchdogSec=1, daemon-reload and 4 s: $(state pings.service), watchdog $(systemctl show --property=WatchdogUSec --value pings.service)"

echo "waits.service, starts within 4 s with RestartSec=1h: $(wc -l </run/starts)"
drop_in waits.service RestartSec=2
systemctl daemon-reload
sleep 1
echo "after a drop-in with RestartSec=2 and daemon-reload: $(wc -l </run/starts)"
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
