#!/usr/bin/env bash
# rclone's SMB by Kerberos ticket (--smb-use-kerberos) reads /etc/krb5.conf by a parser of its own. It refuses values that krb5.conf(5) of MIT allows and
# MIT's programs take: `dns_canonicalize_hostname = fallback`, which is in the file that Fedora and RHEL install, and `on` or `off`. And it leaves out what
# `includedir` names, without a word: the value that it refuses is no error there.
#
# Run as root on Debian, with mmdebstrap. It makes a Debian sid in a temporary folder, with a network of its own that has a loopback only. There is no KDC:
# kinit that looks for one has read the file, and so has rclone when it complains about the ticket cache, which is no ticket cache.
set -euo pipefail

suite=sid
seen_with='krb5-user 1.22.1-3, rclone 1.75.2-2' # Debian's packages
expected='forwardable = true: kinit reads it; rclone reads it
forwardable = on: kinit reads it; rclone: invalid boolean value
dns_canonicalize_hostname = fallback: kinit reads it; rclone: invalid boolean value
forwardable = on, by includedir: kinit reads it; rclone reads it
realm, by includedir: kinit asks for EXAMPLE.TEST'

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '/\/debian\/$/ && !found++') # this machine's own
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT

cat >"$work/inside.sh" <<'INSIDE'
export LC_ALL=C KRB5CCNAME=FILE:/etc/hostname
perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1:445", Listen => 5, ReuseAddr => 1) or die $!; my @c; push @c, $s->accept while 1' &
for _ in $(seq 300); do (: </dev/tcp/127.0.0.1/445) 2>/dev/null && break || sleep 0.1; done
mkdir -p /etc/krb5.conf.d
by_rclone() {
  said=$(rclone lsd --config /dev/null --retries 1 --low-level-retries 1 --smb-use-kerberos --smb-host 127.0.0.1 :smb: 2>&1) || :
  case $said in
    *'invalid boolean value'*) echo 'rclone: invalid boolean value' ;;
    *'Invalid credential cache'*) echo 'rclone reads it' ;;
    *) echo "rclone: $said" ;;
  esac
}
by_kinit() {
  said=$(kinit -c /tmp/tickets alice </dev/null 2>&1) || :
  case $said in
    *"for realm \"$1\""* | *"for realm '$1'"*) echo "$2" ;;
    *) echo "kinit: $said" ;;
  esac
}
realms='[realms]
  EXAMPLE.TEST = {
    kdc = 127.0.0.1:1
  }'
set_to() {
  echo "${2:-}" >/etc/krb5.conf.d/more
  printf '%s\n' 'includedir /etc/krb5.conf.d/' '[libdefaults]' '  default_realm = EXAMPLE.TEST' '  dns_lookup_kdc = false' "  $1" "$realms" >/etc/krb5.conf
}
for line in 'forwardable = true' 'forwardable = on' 'dns_canonicalize_hostname = fallback'; do
  set_to "$line"
  echo "$line: $(by_kinit EXAMPLE.TEST 'kinit reads it'); $(by_rclone)"
done
set_to '' $'[libdefaults]\n  forwardable = on'
echo "forwardable = on, by includedir: $(by_kinit EXAMPLE.TEST 'kinit reads it'); $(by_rclone)"
echo 'includedir /etc/krb5.conf.d/' >/etc/krb5.conf
printf '%s\n' '[libdefaults]' '  default_realm = EXAMPLE.TEST' "$realms" >/etc/krb5.conf.d/more
echo "realm, by includedir: $(by_kinit EXAMPLE.TEST 'kinit asks for EXAMPLE.TEST')"
INSIDE

root=$work/$suite
mmdebstrap --quiet --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' --include=rclone,krb5-user "$suite" "$root" "$mirror"
version=$(chroot "$root" dpkg-query --show --showformat='${Package} ${Version}, ' krb5-user rclone)
version=${version%, }
echo "Debian $suite, $version"
if [ "$version" != "$seen_with" ]; then
  echo "another version, not applicable (seen with $seen_with)"
  exit
fi
cp "$work/inside.sh" "$root/inside.sh"
seen=$(unshare --net --mount --pid --fork --kill-child bash -c \
  'ip link set lo up && mount -t proc proc "$1/proc" && chroot "$1" /usr/bin/env -i PATH=/usr/sbin:/usr/bin HOME=/root /bin/bash /inside.sh' _ "$root")
echo "$seen"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
