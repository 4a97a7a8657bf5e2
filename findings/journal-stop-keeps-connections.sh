#!/usr/bin/env bash
# Stopping systemd-journald with its sockets breaks the standard output of every service that runs, up to systemd 253: after the journal is back they get
# EPIPE. From 254 on journald.service has FileDescriptorStorePreserve=yes: PID 1 keeps the connections while it is stopped, and what a service
# writes meanwhile is read later. The last words of a service that ends meanwhile are lost, although writing them went well.
#
# Run as root on Debian, with mmdebstrap and systemd-container. It makes a Debian of its own in a temporary folder and boots it in a container.
set -euo pipefail

# What was seen, by suite and version of Debian's package systemd.
declare -A versions=([bookworm]=252.39-1~deb12u2 [trixie]=257.13-1~deb13u1)
declare -A expected=(
  [bookworm]='FileDescriptorStorePreserve=
goes-on: the line meanwhile failed with Broken pipe, the journal has: before
ends: the line meanwhile failed with Broken pipe, the journal has: before'
  [trixie]='FileDescriptorStorePreserve=yes
goes-on: the line meanwhile was written, the journal has: before meanwhile after
ends: the line meanwhile was written, the journal has: before'
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
cat >/run/writes.py <<'PYTHON'
import os, pathlib, signal, sys, time


def wait_for(name):
    while not pathlib.Path(name).exists():
        time.sleep(0.1)


def write(line):
    try:
        os.write(1, line)
        return "was written"
    except OSError as error:
        return f"failed with {error.strerror}"


signal.signal(signal.SIGPIPE, signal.SIG_IGN)
write(b"before\n")
wait_for("/run/stopped")
pathlib.Path(f"/run/how-{sys.argv[1]}").write_text(write(b"meanwhile\n"))
if sys.argv[1] == "goes-on":
    wait_for("/run/back")
    write(b"after\n")
    wait_for("/run/looked-at")
PYTHON
lines() { journalctl --sync; journalctl --quiet --identifier="$1" --output=cat | grep -E '^(before|meanwhile|after)$' | paste --serial --delimiters=' '; }
journald=(systemd-journald.socket systemd-journald-dev-log.socket systemd-journald.service)
for service in goes-on ends; do
  systemd-run --quiet --unit="$service" --property=SyslogIdentifier="$service" /usr/bin/python3 /run/writes.py "$service"
  for _ in $(seq 100); do [ -n "$(lines "$service")" ] && break; sleep 0.1; done
done
echo "FileDescriptorStorePreserve=$(systemctl show --value --property=FileDescriptorStorePreserve systemd-journald.service)"
systemctl stop "${journald[@]}"
touch /run/stopped
for service in goes-on ends; do for _ in $(seq 100); do [ -s "/run/how-$service" ] && break; sleep 0.1; done; done
while [ -d /sys/fs/cgroup/system.slice/ends.service ]; do sleep 0.1; done
systemctl start "${journald[@]}"
touch /run/back
sleep 1
for service in goes-on ends; do echo "$service: the line meanwhile $(cat "/run/how-$service"), the journal has: $(lines "$service")"; done
touch /run/looked-at
INSIDE

for suite in bookworm trixie; do
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
