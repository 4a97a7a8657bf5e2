#!/usr/bin/env bash
# kinit gets a ticket on a machine whose clock is ten minutes ahead of the KDC's or behind it, although Kerberos is known to bear five: by default
# (kdc_timesync = 1) MIT's library asks again with the KDC's time, and notes the difference in the cache. So a clock that is wrong shows only in klist,
# where the new ticket begins at another time than now. With kdc_timesync = 0 kinit is refused.
#
# Run as root on Debian, with mmdebstrap. It makes two Debians in a temporary folder: a MIT KDC and its client, on a loopback of their own.
set -euo pipefail

# What was seen, by suite and version of Debian's package krb5-user.
declare -A versions=([bookworm]=1.20.1-2+deb12u5 [trixie]=1.21.3-5+deb13u1)
expected='same clock: ticket, which begins 0 minutes from now
10 minutes ahead: ticket, which begins -10 minutes from now
10 minutes behind: ticket, which begins 10 minutes from now
10 minutes ahead, kdc_timesync = 0: Clock skew too great
10 minutes behind, kdc_timesync = 0: Clock skew too great'

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '/\/debian\/$/ && !found++') # this machine's own
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT

cat >"$work/inside.sh" <<'INSIDE'
export TZ=UTC LC_ALL=C KRB5CCNAME=FILE:/tmp/alice
configure() {
  cat >/etc/krb5.conf <<CONF
[libdefaults]
  default_realm = EXAMPLE.TEST
  dns_lookup_kdc = false
  $1
[realms]
  EXAMPLE.TEST = {
    kdc = 127.0.0.1
  }
CONF
}
configure ''
{
  kdb5_util create -s -P "$(head -c 16 /dev/urandom | base64)"
  kadmin.local addprinc -randkey +requires_preauth alice
  kadmin.local ktadd -k /etc/alice.keytab alice
  krb5kdc
} >/log 2>&1
try() {
  rm -f /tmp/alice
  if said=$(faketime -f "$2" kinit -k -t /etc/alice.keytab alice 2>&1); then
    began=$(date +%s -d "$(klist | awk '/krbtgt/ { print $1, $2 }')")
    now=$(faketime -f "$2" date +%s)
    echo "$1: ticket, which begins $(((began - now + (began > now ? 30 : -30)) / 60)) minutes from now"
  else
    echo "$1: $(grep -o 'Clock skew too great' <<<"$said")"
  fi
}
try 'same clock' +0
try '10 minutes ahead' +10m
try '10 minutes behind' -10m
configure 'kdc_timesync = 0'
try '10 minutes ahead, kdc_timesync = 0' +10m
try '10 minutes behind, kdc_timesync = 0' -10m
INSIDE

for suite in bookworm trixie; do
  root=$work/$suite
  mmdebstrap --quiet --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' --include=krb5-kdc,krb5-admin-server,krb5-user,faketime \
    "$suite" "$root" "$mirror"
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
