#!/usr/bin/env bash
# pika, a Python client of RabbitMQ, cannot write a float into a message header, and reads the floats of others as integers: 2.5 arrives as 2,
# without an error. RabbitMQ and other clients carry doubles (tag d) and floats (tag f) as they are.
#
# Needs Debian's apt and python3. Takes the packages from Debian's archive into a temporary folder and installs nothing.
set -euo pipefail

# What was seen, by suite and version of Debian's package python3-pika.
declare -A versions=([trixie]=1.3.2-1 [sid]=1.4.4-1)
declare -A expected=(
  [trixie]='writing: UnsupportedAMQPFieldException
double 2.5 is read as 2
float 2.5 is read as 2'
  [sid]='writing: UnsupportedAMQPFieldException
double 2.5 is read as 2
float 2.5 is read as 2'
)

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '/\/debian\/$/ && !found++') # this machine's own
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/client.py" <<'CLIENT'
import struct
from pika import data, exceptions

try:
    data.encode_value([], 2.5)
    print('writing: done')
except exceptions.UnsupportedAMQPFieldException as error:
    print('writing:', type(error).__name__)
print('double 2.5 is read as', f"{data.decode_value(b'd' + struct.pack('>d', 2.5), 0)[0] + 0:g}")
print('float 2.5 is read as', f"{data.decode_value(b'f' + struct.pack('>f', 2.5), 0)[0] + 0:g}")
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
