#!/usr/bin/env bash
# setpriv (util-linux) looks a number up as a name first: with --reuid=1001 it reads nsswitch.conf and asks every source of passwd for an account that
# is called so, which waits where a directory service hangs. chroot (coreutils) does the same for 1001, and asks nobody for +1001.
#
# Run as root on Debian, with mmdebstrap. It makes a Debian of its own in a temporary folder.
set -euo pipefail

# What was seen, by suite and version of Debian's package util-linux.
declare -A versions=([trixie]=2.41.5-0+deb13u1 [sid]=2.42.4-1)
declare -A expected=(
  [trixie]='setpriv --reuid=1001 --regid=1001: asks
chroot --userspec=1001:1001: asks
chroot --userspec=+1001:+1001: asks nobody'
  [sid]='setpriv --reuid=1001 --regid=1001: asks
chroot --userspec=1001:1001: asks
chroot --userspec=+1001:+1001: asks nobody'
)

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '/\/debian\/$/ && !found++') # this machine's own
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT

cat >"$work/inside.sh" <<'INSIDE'
asks() {
  strace --quiet=all --trace=openat --output=/mnt/trace "$@" /usr/bin/true
  grep -q /etc/nsswitch.conf /mnt/trace && echo asks || echo "asks nobody"
}
echo "setpriv --reuid=1001 --regid=1001: $(asks setpriv --reuid=1001 --regid=1001 --clear-groups)"
echo "chroot --userspec=1001:1001: $(asks chroot --userspec=1001:1001 /)"
echo "chroot --userspec=+1001:+1001: $(asks chroot --userspec=+1001:+1001 --groups= /)"
INSIDE

for suite in trixie sid; do
  root=$work/$suite
  mmdebstrap --quiet --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' --include=strace,util-linux "$suite" "$root" "$mirror"
  version=$(chroot "$root" dpkg-query --show --showformat='${Version}' util-linux)
  echo "Debian $suite, util-linux $version"
  if [ "$version" != "${versions[$suite]}" ]; then
    echo "another version, not applicable (seen with ${versions[$suite]})"
    continue
  fi
  cp "$work/inside.sh" "$root/inside.sh"
  seen=$(unshare --mount bash -c 'mount -t proc proc "$1/proc" && mount -t tmpfs tmpfs "$1/mnt" && chroot "$1" /usr/bin/env -i PATH=/usr/sbin:/usr/bin /bin/bash /inside.sh' _ "$root" 2>&1)
  echo "$seen"
  [ "$seen" = "${expected[$suite]}" ] || { echo "changed: expected"; echo "${expected[$suite]}"; exit 1; }
done
