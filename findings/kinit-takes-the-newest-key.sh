#!/usr/bin/env bash
# kinit -k tries one key of a keytab, the one with the highest version number, and no other: not that of the KDC's version, and none after a refusal.
# So a keytab that has the next key already, put there before the password is changed, gives no ticket: "Preauthentication failed", which is a wrong
# password for the domain. The order in the file does not matter. An old key that is left beside the current one does no harm (krb5 1.20 and 1.21).
#
# Run as root on Debian, with mmdebstrap. It makes two Debians in a temporary folder: a MIT KDC and its client, on a loopback of their own.
set -euo pipefail

# What was seen, by suite and version of Debian's package krb5-user.
declare -A versions=([bookworm]=1.20.1-2+deb12u5 [trixie]=1.21.3-5+deb13u1)
expected='the KDC has key 1
keytab with key 1: ticket
keytab with keys 1 and 2: Preauthentication failed
keytab with keys 2 and 1: Preauthentication failed
the KDC has key 2
keytab with key 1: Preauthentication failed
keytab with keys 1 and 2: ticket
keytab with keys 2 and 1: ticket'

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '/\/debian\/$/ && !found++') # this machine's own
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT

cat >"$work/inside.sh" <<'INSIDE'
export LC_ALL=C KRB5CCNAME=FILE:/tmp/alice
cat >/etc/krb5.conf <<CONF
[libdefaults]
  default_realm = EXAMPLE.TEST
  dns_lookup_kdc = false
[realms]
  EXAMPLE.TEST = {
    kdc = 127.0.0.1
  }
CONF
{
  kdb5_util create -s -P "$(head -c 16 /dev/urandom | base64)"
  kadmin.local addprinc -pw first +requires_preauth alice
  kadmin.local ktadd -norandkey -k /etc/1.keytab alice
  kadmin.local cpw -pw second alice
  kadmin.local ktadd -norandkey -k /etc/2.keytab alice
  printf 'read_kt /etc/1.keytab\nread_kt /etc/2.keytab\nwrite_kt /etc/12.keytab\n' | ktutil
  printf 'read_kt /etc/2.keytab\nread_kt /etc/1.keytab\nwrite_kt /etc/21.keytab\n' | ktutil
  # As it was before the change: a password makes the same key each time.
  kadmin.local delprinc -force alice
  kadmin.local addprinc -pw first +requires_preauth alice
  krb5kdc
} >/log 2>&1
try() {
  rm -f /tmp/alice
  if said=$(kinit -k -t "/etc/$2.keytab" alice 2>&1); then said=ticket; fi
  echo "keytab with $1: $(grep -o 'ticket\|Preauthentication failed' <<<"$said")"
}
try_all() {
  echo "the KDC has key $(kadmin.local getprinc alice | awk '/^Key: vno/ { print $3 + 0; exit }')"
  try 'key 1' 1
  try 'keys 1 and 2' 12
  try 'keys 2 and 1' 21
}
try_all
kadmin.local cpw -pw second alice >>/log 2>&1
try_all
INSIDE

for suite in bookworm trixie; do
  root=$work/$suite
  mmdebstrap --quiet --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' --include=krb5-kdc,krb5-admin-server,krb5-user "$suite" "$root" "$mirror"
  version=$(chroot "$root" dpkg-query --show --showformat='${Version}' krb5-user)
  echo "Debian $suite, krb5-user $version"
  if [ "$version" != "${versions[$suite]}" ]; then
    echo "another version, not applicable (seen with ${versions[$suite]})"
    continue
  fi
  cp "$work/inside.sh" "$root/inside.sh"
  seen=$(unshare --net --mount --pid --fork --kill-child bash -c \
    'ip link set lo up && mount -t proc proc "$1/proc" && chroot "$1" /usr/bin/env -i PATH=/usr/sbin:/usr/bin /bin/bash /inside.sh' _ "$root")
  echo "$seen"
  [ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
done
