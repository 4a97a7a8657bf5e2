#!/usr/bin/env bash
# logrotate gives the new log the ACL of the old one, as its mode and owner, with "create" alone and with "create OWNER GROUP". With a mode, as in most
# packages' files ("create 0640 root adm"), the ACL is left out, although the mode is what the log had. An auditor whom setfacl let read the log can
# read all that has been rotated, and nothing from the first rotation on. Its manual names no ACL. A default ACL of the directory
# stays, with the group bits of the mode as its mask: 0640 lets the auditor read, and 0600 does not.
#
# Run as root on Debian, with mmdebstrap. It makes a Debian of its own in a temporary folder.
set -euo pipefail

# What was seen, by suite and version of Debian's package logrotate.
declare -A versions=([bookworm]=3.21.0-1 [trixie]=3.22.0-1 [sid]=3.22.0-1)
expected='create: app.log.1 reads, app.log reads
create root adm: app.log.1 reads, app.log reads
create 0640 root adm: app.log.1 reads, app.log Permission denied
create 0640: app.log.1 reads, app.log Permission denied
copytruncate: app.log.1 reads, app.log reads
create 0640 root adm, default ACL: app.log.1 reads, app.log reads
create 0600 root adm, default ACL: app.log.1 reads, app.log Permission denied'

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '/\/debian\/$/ && !found++') # this machine's own
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT

cat >"$work/inside.sh" <<'INSIDE'
set -eu
export LC_ALL=C
auditor=1234
reads() {
  if said=$(setpriv --reuid="$auditor" --regid="$auditor" --clear-groups cat "$1" 2>&1 >/dev/null); then
    said=reads
  fi
  echo "${1##*/} ${said##*: }"
}
try() { # what to write into the configuration, the default ACL
  rm -rf /var/log/app
  mkdir --mode=0755 /var/log/app
  if [ -n "$2" ]; then setfacl --default --modify "user:$auditor:r" /var/log/app; fi
  echo line >/var/log/app/app.log
  chown root:adm /var/log/app/app.log
  chmod 0640 /var/log/app/app.log
  if [ -z "$2" ]; then setfacl --modify "user:$auditor:r" /var/log/app/app.log; fi
  printf '/var/log/app/app.log {\n  rotate 4\n  %s\n}\n' "$1" >/app.conf
  logrotate --force --state /app.state /app.conf
  echo "$1$2: $(reads /var/log/app/app.log.1), $(reads /var/log/app/app.log)"
}
try create ''
try 'create root adm' ''
try 'create 0640 root adm' ''
try 'create 0640' ''
try copytruncate ''
try 'create 0640 root adm' ', default ACL'
try 'create 0600 root adm' ', default ACL'
INSIDE

for suite in bookworm trixie sid; do
  root=$work/$suite
  mmdebstrap --quiet --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' --include=logrotate,acl "$suite" "$root" "$mirror"
  version=$(chroot "$root" dpkg-query --show --showformat='${Version}' logrotate)
  echo "Debian $suite, logrotate $version"
  if [ "$version" != "${versions[$suite]}" ]; then
    echo "another version, not applicable (seen with ${versions[$suite]})"
    continue
  fi
  cp "$work/inside.sh" "$root/inside.sh"
  seen=$(chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin /bin/bash /inside.sh)
  echo "$seen"
  [ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
done
