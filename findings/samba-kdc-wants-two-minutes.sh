#!/usr/bin/env bash
# Samba's KDC, that of an Active Directory of Samba, gives no service ticket by a ticket-granting ticket that ends within two minutes. It says "Ticket
# expired", although klist shows the ticket as good. So a ticket that lives for two minutes or less is of no use from its beginning, and a program that
# renews tickets shortly before their end renews them too late. MIT's KDC gave a service ticket by one that lived for 90 s.
#
# Run as root on Debian, with mmdebstrap. It makes a Debian 13 in a temporary folder: an Active Directory of Samba, a MIT KDC, and their client, in a network
# of their own.
set -euo pipefail

suite=trixie
seen_with='krb5-kdc 1.21.3-5+deb13u1, samba-ad-dc 2:4.22.11+dfsg-0+deb13u1' # Debian's packages
expected='MIT, lives for 90 s: ticket for a service
Samba, lives for 90 s: Ticket expired
Samba, lives for 150 s: ticket for a service'

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '/\/debian\/$/ && !found++') # this machine's own
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT

cat >"$work/inside.sh" <<'INSIDE'
export LC_ALL=C KRB5CCNAME=FILE:/tmp/tickets
realm_at() {
  printf '%s\n' '[libdefaults]' '  default_realm = EXAMPLE.TEST' '  dns_lookup_kdc = false' '[realms]' '  EXAMPLE.TEST = {' '    kdc = 10.77.0.1' '  }' >/etc/krb5.conf
}
try() {
  rm -f /tmp/tickets
  kinit -l "$2s" -k -t /etc/alice.keytab alice
  if said=$(kvno "$3" 2>&1); then said='ticket for a service'; else said=$(grep -o 'Ticket expired' <<<"$said" || echo "$said"); fi
  echo "$1, lives for $2 s: $said"
}
answers() {
  for _ in $(seq 300); do
    (: </dev/tcp/10.77.0.1/88) 2>/dev/null && return
    sleep 0.1
  done
  cat /log >&2
  exit 1
}
password() { echo "Aa1-$(head -c 16 /dev/urandom | base64 | tr -d '+/=')"; }
realm_at
{
  kdb5_util create -s -P "$(password)"
  for name in alice host/dc.example.test; do
    kadmin.local addprinc -randkey "$name"
  done
  kadmin.local ktadd -k /etc/alice.keytab alice
  krb5kdc
} >/log 2>&1
answers
try MIT 90 host/dc.example.test
kill "$(cat /run/krb5kdc.pid 2>/dev/null || pgrep -x krb5kdc)"
rm -f /etc/alice.keytab /etc/samba/smb.conf
{
  echo '10.77.0.1 dc.example.test dc' >>/etc/hosts
  samba-tool domain provision --realm=EXAMPLE.TEST --domain=EXAMPLE --adminpass="$(password)" --server-role=dc --host-name=dc --host-ip=10.77.0.1 \
    --dns-backend=SAMBA_INTERNAL
  samba-tool user create alice "$(password)"
  samba-tool domain exportkeytab /etc/alice.keytab --principal=alice
} >>/log 2>&1
realm_at
samba --foreground --no-process-group --debug-stdout >>/log 2>&1 &
answers
try Samba 90 cifs/dc.example.test
try Samba 150 cifs/dc.example.test
INSIDE

root=$work/$suite
packages=samba-ad-dc,samba-ad-provision,samba-dsdb-modules,samba-vfs-modules,winbind,ldb-tools,krb5-kdc,krb5-admin-server,krb5-user,procps
mmdebstrap --quiet --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' --include=$packages "$suite" "$root" "$mirror"
version=$(chroot "$root" dpkg-query --show --showformat='${Package} ${Version}, ' krb5-kdc samba-ad-dc)
version=${version%, }
echo "Debian $suite, $version"
if [ "$version" != "$seen_with" ]; then
  echo "another version, not applicable (seen with $seen_with)"
  exit
fi
cp "$work/inside.sh" "$root/inside.sh"
network='ip link set lo up; ip link add near type veth peer name far; ip address add 10.77.0.1/24 dev near; ip link set near up; ip link set far up'
seen=$(unshare --net --mount --pid --fork --kill-child bash -c \
  "$network"'; mount -t proc proc "$1/proc" && mount --bind /dev "$1/dev" && exec chroot "$1" /usr/bin/env -i PATH=/usr/sbin:/usr/bin /bin/bash /inside.sh' _ "$root")
echo "$seen"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
