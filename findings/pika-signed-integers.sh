#!/usr/bin/env bash
# pika 1.3 reads the tags b (8 bits, signed in RabbitMQ) and l (64 bits, signed) of a header table as unsigned, and B (8 bits, unsigned) as
# signed: -5 of another client is 251 or 18446744073709551611. It writes a negative number of more than 32 bits with the tag L, a
# second one for 64 signed bits. pika 1.4 reads and writes all of them as RabbitMQ does: the same message means something else after an upgrade.
#
# Needs Debian's apt and python3. Takes the packages from Debian's archive into a temporary folder and installs nothing.
set -euo pipefail

# What was seen, by suite and version of Debian's package python3-pika.
declare -A versions=([trixie]=1.3.2-1 [sid]=1.4.4-1)
declare -A expected=(
  [trixie]='b fb is read as 251
B fb is read as -5
l fffffffffffffffb is read as 18446744073709551611
-2**40 is written with the tag L'
  [sid]='b fb is read as -5
B fb is read as 251
l fffffffffffffffb is read as -5
-2**40 is written with the tag l'
)

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '/\/debian\/$/ && !found++') # this machine's own
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/client.py" <<'CLIENT'
from pika import data


def written(value):
    pieces = []
    data.encode_value(pieces, value)
    return b''.join(pieces)[:1].decode()


for tag, value in ((b'b', b'\xfb'), (b'B', b'\xfb'), (b'l', b'\xff' * 7 + b'\xfb')):
    print(tag.decode(), value.hex(), 'is read as', str(data.decode_value(tag + value, 0)[0]))
print('-2**40 is written with the tag', written(-(2**40)))
CLIENT

for suite in trixie sid; do
  folder=$work/$suite
  mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial" "$folder/tree"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$folder/sources"
  apt=(apt-get -qq -o Dir::Etc::SourceList="$folder/sources" -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$folder/lists"
    -o Dir::Cache="$folder/cache" -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root)
  "${apt[@]}" update
  (cd "$folder" && "${apt[@]}" download python3-pika)
  for package in "$folder"/*.deb; do dpkg-deb --extract "$package" "$folder/tree"; done
  version=$(dpkg-deb --field "$folder"/python3-pika_*.deb Version)
  echo "Debian $suite, python3-pika $version"
  if [ "$version" != "${versions[$suite]}" ]; then
    echo "another version, not applicable (seen with ${versions[$suite]})"
    continue
  fi
  seen=$(PYTHONPATH="$folder/tree/usr/lib/python3/dist-packages" python3 "$work/client.py")
  echo "$seen"
  [ "$seen" = "${expected[$suite]}" ] || { echo "changed: expected"; echo "${expected[$suite]}"; exit 1; }
done
