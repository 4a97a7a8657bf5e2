#!/usr/bin/env bash
# /proc/self/fd/N is a way to name an open directory to a command. With setfacl --physical of acl 2.3 it does nothing: exit code 0, no message and
# no ACL, as the name itself is a symbolic link. acl 2.4 says that, with an error. With "/." behind it, the ACL is set in both.
#
# Run as root on Debian, with mmdebstrap. It makes a Debian of its own in a temporary folder.
set -euo pipefail

# What was seen, by suite and version of Debian's package acl.
declare -A versions=([trixie]=2.3.2-2+b1 [sid]=2.4.0-1)
declare -A expected=(
  [trixie]='/proc/self/fd/3: exit 0, ACL entries for users: 0
/proc/self/fd/3/.: exit 0, ACL entries for users: 1'
  [sid]='/proc/self/fd/3: exit 1, ACL entries for users: 0
/proc/self/fd/3/.: exit 0, ACL entries for users: 1'
)

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '/\/debian\/$/ && !found++') # this machine's own
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT

cat >"$work/inside.sh" <<'INSIDE'
mkdir /mnt/directory
for name in /proc/self/fd/3 /proc/self/fd/3/.; do
  code=0
  setfacl --physical --modify user:1:rwx "$name" 3</mnt/directory 2>/dev/null || code=$?
  echo "$name: exit $code, ACL entries for users: $(getfacl --omit-header --absolute-names /mnt/directory | grep -c '^user:[^:]')"
done
INSIDE

for suite in trixie sid; do
  root=$work/$suite
  mmdebstrap --quiet --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' --include=acl "$suite" "$root" "$mirror"
  version=$(chroot "$root" dpkg-query --show --showformat='${Version}' acl)
  echo "Debian $suite, acl $version"
  if [ "$version" != "${versions[$suite]}" ]; then
    echo "another version, not applicable (seen with ${versions[$suite]})"
    continue
  fi
  cp "$work/inside.sh" "$root/inside.sh"
  seen=$(unshare --mount bash -c 'mount -t proc proc "$1/proc" && mount -t tmpfs tmpfs "$1/mnt" && chroot "$1" /usr/bin/env -i PATH=/usr/sbin:/usr/bin /bin/bash /inside.sh' _ "$root" 2>&1)
  echo "$seen"
  [ "$seen" = "${expected[$suite]}" ] || { echo "changed: expected"; echo "${expected[$suite]}"; exit 1; }
done
