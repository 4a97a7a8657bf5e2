#!/usr/bin/env bash
# smbclient with --use-kerberos=required --no-pass uses the ticket that KRB5CCNAME names in Samba 4.17, and not in 4.22 and 4.25: there it ends before it
# asks the KDC for a ticket of the server, although klist shows a good one. With --use-krb5-ccache="$KRB5CCNAME" each of them uses it. Jobs with the
# first command fail after an upgrade of Debian 12.
#
# Run as root on Debian, with mmdebstrap. It makes three Debians in a temporary folder: a MIT KDC, a Samba file server and its client, on a loopback of
# their own.
set -euo pipefail

# What was seen, by suite and version of Debian's package smbclient.
declare -A versions=([bookworm]=2:4.17.12+dfsg-0+deb12u4 [trixie]=2:4.22.11+dfsg-0+deb13u1 [sid]=2:4.25.1+dfsg-1)
uses='--no-pass --use-kerberos=required: ticket for the server
--use-krb5-ccache: ticket for the server'
ignores='--no-pass --use-kerberos=required: none, "No password for user principal"
--use-krb5-ccache: ticket for the server'
declare -A expected=([bookworm]=$uses [trixie]=$ignores [sid]=$ignores)

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '/\/debian\/$/ && !found++') # this machine's own
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT

cat >"$work/inside.sh" <<'INSIDE'
cat >/etc/krb5.conf <<'CONF'
[libdefaults]
  default_realm = EXAMPLE.TEST
  dns_lookup_kdc = false
  dns_canonicalize_hostname = false
[realms]
  EXAMPLE.TEST = {
    kdc = 127.0.0.1
  }
[domain_realm]
  files.example.test = EXAMPLE.TEST
CONF
echo '127.0.0.1 files.example.test localhost' >/etc/hosts
cat >/etc/samba/smb.conf <<'CONF'
[global]
  security = user
  realm = EXAMPLE.TEST
  kerberos method = dedicated keytab
  dedicated keytab file = /etc/files.keytab
  interfaces = lo
  bind interfaces only = yes
[data]
  path = /srv
CONF
{
  kdb5_util create -s -P "$(head -c 16 /dev/urandom | base64)"
  kadmin.local addprinc -randkey cifs/files.example.test
  kadmin.local addprinc -randkey alice
  kadmin.local ktadd -k /etc/files.keytab cifs/files.example.test
  kadmin.local ktadd -k /etc/alice.keytab alice
  useradd alice
  krb5kdc
  smbd --daemon
} >/log 2>&1
for _ in $(seq 100); do
  (exec 3<>/dev/tcp/127.0.0.1/445) 2>>/log && break
  sleep 0.1
done
export KRB5CCNAME=FILE:/tmp/alice
try() {
  kinit -k -t /etc/alice.keytab alice
  said=$(smbclient "${@:2}" //files.example.test/data --command ls </dev/null 2>&1) || true
  if klist | grep -q cifs/files; then echo "$1: ticket for the server"; else echo "$1: none, \"$(grep -o 'No password for user principal' <<<"$said")\""; fi
}
try '--no-pass --use-kerberos=required' --no-pass --use-kerberos=required
try --use-krb5-ccache --use-krb5-ccache="$KRB5CCNAME"
INSIDE

for suite in bookworm trixie sid; do
  root=$work/$suite
  mmdebstrap --quiet --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' --include=krb5-kdc,krb5-admin-server,krb5-user,samba,smbclient \
    "$suite" "$root" "$mirror"
  version=$(chroot "$root" dpkg-query --show --showformat='${Version}' smbclient)
  echo "Debian $suite, smbclient $version"
  if [ "$version" != "${versions[$suite]}" ]; then
    echo "another version, not applicable (seen with ${versions[$suite]})"
    continue
  fi
  cp "$work/inside.sh" "$root/inside.sh"
  seen=$(unshare --net --mount --pid --fork --kill-child bash -c \
    'ip link set lo up && mount -t proc proc "$1/proc" && chroot "$1" /usr/bin/env -i PATH=/usr/sbin:/usr/bin /bin/bash /inside.sh' _ "$root")
  echo "$seen"
  [ "$seen" = "${expected[$suite]}" ] || { echo "changed: expected"; echo "${expected[$suite]}"; exit 1; }
done
