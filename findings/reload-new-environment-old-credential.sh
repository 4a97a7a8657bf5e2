#!/usr/bin/env bash
# A command of ExecReload= gets the content that EnvironmentFile= has at that moment, and the credential of LoadCredential= as it was at the start of
# the service. A secret that was changed in both places is an old and a new one within one reload; and the service itself, which keeps the
# environment of its start, can read a new credential only after a restart (systemd 257 and 262).
#
# Run as root on Debian, with mmdebstrap and systemd-container. It makes a Debian of its own in a temporary folder and boots it in a container.
set -euo pipefail

# What was seen, by suite and version of Debian's package systemd.
declare -A versions=([trixie]=257.13-1~deb13u1 [sid]=262.1-1)
declare -A expected=(
  [trixie]='reload: environment first, credential first
reload after the change: environment second, credential first
reload after a restart: environment second, credential second'
  [sid]='reload: environment first, credential first
reload after the change: environment second, credential first
reload after a restart: environment second, credential second'
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
cat >"$units/reloads.service" <<'UNIT'
[Service]
Type=exec
EnvironmentFile=/run/environment
LoadCredential=secret:/run/secret
ExecStart=/usr/bin/sleep infinity
ExecReload=/bin/sh -c 'echo "environment $$VALUE, credential $$(cat /run/credentials/reloads.service/secret)" >/run/seen'
UNIT
systemctl daemon-reload
change() {
  echo "VALUE=$1" >/run/environment
  echo "$1" >/run/secret
}
change first
systemctl start reloads
systemctl reload reloads
echo "reload: $(cat /run/seen)"
change second
systemctl reload reloads
echo "reload after the change: $(cat /run/seen)"
systemctl restart reloads
systemctl reload reloads
echo "reload after a restart: $(cat /run/seen)"
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
