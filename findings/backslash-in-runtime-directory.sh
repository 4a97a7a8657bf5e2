#!/usr/bin/env bash
# With systemd 257 a service whose RuntimeDirectory= or StateDirectory= holds a backslash does not start: "Failed to deserialize: Invalid argument". Most
# backslashes come by %i, the name of an instance: of accounts such as CORP\alice that winbind and SSSD have, or by systemd-escape(1). Environment=,
# ReadWritePaths=, WorkingDirectory= and LogExtraFields= with the same %i are taken. systemd 252 and 262 make the directory (github.com/systemd/systemd/issues/41853).
#
# Run as root on Debian, with mmdebstrap and systemd-container. It makes Debians of its own in a temporary folder and boots them in a container.
set -euo pipefail

# What was seen, by suite and version of Debian's package systemd.
declare -A versions=([bookworm]=252.39-1~deb12u2 [trixie]=257.13-1~deb13u1 [sid]=262.1-1)
directory_made='other settings: started
RuntimeDirectory: started, /run/of/CORP\alice is there
StateDirectory: started, /var/lib/of/CORP\alice is there'
declare -A expected=(
  [bookworm]=$directory_made
  [trixie]='other settings: started
RuntimeDirectory: failed, Failed to deserialize: Invalid argument
StateDirectory: failed, Failed to deserialize: Invalid argument'
  [sid]=$directory_made
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
name='CORP\alice'
try() {
  printf '[Service]\nType=oneshot\nExecStart=/usr/bin/true %%i\n%b' "$2" >"/run/systemd/system/$1@.service"
  systemctl daemon-reload
  since=$(date +%s)
  if systemctl start -- "$1@$name.service" 2>/dev/null; then echo started; else
    journalctl --sync
    echo "failed, $(journalctl --output=cat --since="@$since" | grep -o 'Failed to deserialize: Invalid argument' | head -n 1)"
  fi
}
there() { if [ -d "$1" ]; then echo "$2, $1 is there"; else echo "$2"; fi; }
echo "other settings: $(try others 'Environment=NAME=%i\nReadWritePaths=-/srv/%i\nWorkingDirectory=-/srv/%i\nLogExtraFields=NAME=%i\n')"
echo "RuntimeDirectory: $(there "/run/of/$name" "$(try runtime 'RuntimeDirectory=of/%i\nRuntimeDirectoryPreserve=yes\n')")"
echo "StateDirectory: $(there "/var/lib/of/$name" "$(try state 'StateDirectory=of/%i\n')")"
INSIDE

for suite in bookworm trixie sid; do
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
