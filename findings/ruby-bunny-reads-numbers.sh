#!/usr/bin/env bash
# amq-protocol, the codec below Bunny (Ruby), reads the signed tags b (8 bits) and I (32 bits) of a header table as unsigned, and the 4 bytes of a
# float (tag f) in the wrong order: -5 is 251, -70000 is 4294897296, 2.5 is a number near zero. Tags s, l and d are read as written.
#
# Run as root on Debian, with mmdebstrap. It makes a Debian of its own in a temporary folder.
set -euo pipefail

# What was seen, by suite and version of Debian's package ruby-amq-protocol.
declare -A versions=([trixie]=2.3.2-2 [sid]=2.9.0-1)
declare -A expected=(
  [trixie]='b -5 is read as 251
s -300 is read as -300
I -70000 is read as 4294897296
l -70000 is read as -70000
f 2.5 is read as 1.156912012146569e-41
d 2.5 is read as 2.5'
  [sid]='b -5 is read as 251
s -300 is read as -300
I -70000 is read as 4294897296
l -70000 is read as -70000
f 2.5 is read as 1.156912012146569e-41
d 2.5 is read as 2.5'
)

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '/\/debian\/$/ && !found++') # this machine's own
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT

cat >"$work/inside.sh" <<'INSIDE'
cat >/mnt/client.rb <<'CLIENT'
require 'amq/protocol/client'

def read(entry)
  entries = "\x01k".b + entry
  AMQ::Protocol::Table.decode([entries.bytesize].pack('N') + entries)['k']
end

puts "b -5 is read as #{read('b' + [-5].pack('c'))}"
puts "s -300 is read as #{read('s' + [-300].pack('s>'))}"
puts "I -70000 is read as #{read('I' + [-70_000].pack('l>'))}"
puts "l -70000 is read as #{read('l' + [-70_000].pack('q>'))}"
puts "f 2.5 is read as #{read('f' + [2.5].pack('g'))}"
puts "d 2.5 is read as #{read('d' + [2.5].pack('G'))}"
CLIENT
ruby /mnt/client.rb
INSIDE

for suite in trixie sid; do
  root=$work/$suite
  mmdebstrap --quiet --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' --include=ruby-amq-protocol,ruby "$suite" "$root" "$mirror"
  version=$(chroot "$root" dpkg-query --show --showformat='${Version}' ruby-amq-protocol)
  echo "Debian $suite, ruby-amq-protocol $version"
  if [ "$version" != "${versions[$suite]}" ]; then
    echo "another version, not applicable (seen with ${versions[$suite]})"
    continue
  fi
  cp "$work/inside.sh" "$root/inside.sh"
  seen=$(unshare --mount bash -c 'mount -t proc proc "$1/proc" && mount -t tmpfs tmpfs "$1/mnt" && chroot "$1" /usr/bin/env -i PATH=/usr/sbin:/usr/bin /bin/bash /inside.sh' _ "$root" 2>&1)
  echo "$seen"
  [ "$seen" = "${expected[$suite]}" ] || { echo "changed: expected"; echo "${expected[$suite]}"; exit 1; }
done
