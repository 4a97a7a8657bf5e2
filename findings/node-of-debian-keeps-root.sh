#!/usr/bin/env bash
# A program that starts as root and gives that up with process.setgroups() and process.setuid() cannot do so on the Node of Debian 13: both throw, with or
# without UV_USE_IO_URING=0, because that build may use io_uring. The same calls work on the Node 24 of Debian sid.
#
# Run as root on Debian, with mmdebstrap. It makes a Debian of its own in a temporary folder.
set -euo pipefail

# What was seen, by suite and version of Debian's package nodejs.
declare -A versions=([trixie]=20.19.2+dfsg-1+deb13u3 [sid]=24.22.2+dfsg+~cs24.19.2-1)
declare -A expected=(
  [trixie]='UV_USE_IO_URING=1 ERR_INVALID_STATE
UV_USE_IO_URING=0 ERR_INVALID_STATE'
  [sid]='UV_USE_IO_URING=1 uid 65534
UV_USE_IO_URING=0 uid 65534'
)

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '/\/debian\/$/ && !found++') # this machine's own
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT

cat >"$work/inside.sh" <<'INSIDE'
for setting in 1 0; do
  UV_USE_IO_URING=$setting node -e '
    try {
      process.setgroups([]);
      process.setuid(65534);
      console.log("UV_USE_IO_URING=" + process.env.UV_USE_IO_URING, "uid", process.getuid());
    } catch (error) {
      console.log("UV_USE_IO_URING=" + process.env.UV_USE_IO_URING, error.code);
    }'
done
INSIDE

for suite in trixie sid; do
  root=$work/$suite
  mmdebstrap --quiet --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' --include=nodejs "$suite" "$root" "$mirror"
  version=$(chroot "$root" dpkg-query --show --showformat='${Version}' nodejs)
  echo "Debian $suite, nodejs $version"
  if [ "$version" != "${versions[$suite]}" ]; then
    echo "another version, not applicable (seen with ${versions[$suite]})"
    continue
  fi
  cp "$work/inside.sh" "$root/inside.sh"
  seen=$(unshare --mount bash -c 'mount -t proc proc "$1/proc" && mount -t tmpfs tmpfs "$1/mnt" && chroot "$1" /usr/bin/env -i PATH=/usr/sbin:/usr/bin /bin/bash /inside.sh' _ "$root" 2>&1)
  echo "$seen"
  [ "$seen" = "${expected[$suite]}" ] || { echo "changed: expected"; echo "${expected[$suite]}"; exit 1; }
done
