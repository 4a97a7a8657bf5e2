#!/usr/bin/env bash
# pamqp 3.3, the codec below aio-pika and aiormq (Python), writes no integer from -1 to -128 into a table: such a header, or an argument such as
# x-priority -1, raises an error, while -129 goes; pamqp 4.0 writes them. And both write a float of 64 bits with the tag f, 32 bits: 0.1
# arrives as 0.10000000149011612, a time in seconds of today up to 64 s off.
#
# Needs Debian's apt and python3. Takes the packages from Debian's archive into a temporary folder and installs nothing.
set -euo pipefail

# What was seen, by suite and version of Debian's package python3-pamqp.
declare -A versions=([trixie]=3.3.0-3 [sid]=4.0.0-1)
declare -A expected=(
  [trixie]='-1 cannot be written
-128 cannot be written
-129 tag s arrives as -129
0.1 tag f arrives as 0.10000000149011612
1764300000.5 tag f arrives as 1764300032.0'
  [sid]='-1 tag b arrives as -1
-128 tag b arrives as -128
-129 tag s arrives as -129
0.1 tag f arrives as 0.10000000149011612
1764300000.5 tag f arrives as 1764300032.0'
)

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '/\/debian\/$/ && !found++') # this machine's own
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/client.py" <<'CLIENT'
import struct
from pamqp import decode, encode

for value in (-1, -128, -129, 0.1, 1764300000.5):
    try:
        table = encode.field_table({'k': value})
        print(value, 'tag', table[6:7].decode(), 'arrives as', decode.field_table(table)[1]['k'])
    except struct.error:
        print(value, 'cannot be written')
CLIENT

for suite in trixie sid; do
  folder=$work/$suite
  mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial" "$folder/tree"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$folder/sources"
  apt=(apt-get -qq -o Dir::Etc::SourceList="$folder/sources" -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$folder/lists"
    -o Dir::Cache="$folder/cache" -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root)
  "${apt[@]}" update
  (cd "$folder" && "${apt[@]}" download python3-pamqp)
  for package in "$folder"/*.deb; do dpkg-deb --extract "$package" "$folder/tree"; done
  version=$(dpkg-deb --field "$folder"/python3-pamqp_*.deb Version)
  echo "Debian $suite, python3-pamqp $version"
  if [ "$version" != "${versions[$suite]}" ]; then
    echo "another version, not applicable (seen with ${versions[$suite]})"
    continue
  fi
  seen=$(PYTHONPATH="$folder/tree/usr/lib/python3/dist-packages" python3 "$work/client.py")
  echo "$seen"
  [ "$seen" = "${expected[$suite]}" ] || { echo "changed: expected"; echo "${expected[$suite]}"; exit 1; }
done
