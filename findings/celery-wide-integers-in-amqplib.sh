#!/usr/bin/env bash
# py-amqp, the client below Celery and kombu, writes an integer of more than 32 bits into a message header with the tag L, and RabbitMQ takes and
# delivers that. amqplib does not know the tag and raises an error. A time in milliseconds as a header of a Celery task is enough.
#
# Needs Debian's apt and python3, node and npm. Takes the packages from Debian's archive, and amqplib from npm, into a temporary folder and installs nothing.
set -euo pipefail

# What was seen, by suite and version of Debian's package python3-amqp.
declare -A versions=([trixie]=5.3.1-2 [sid]=5.3.1-3)
declare -A expected=(
  [trixie]='2147483647 tag I, amqplib reads 2147483647
2147483648 tag L, amqplib: Unexpected type tag "L"
1764300000000 tag L, amqplib: Unexpected type tag "L"'
  [sid]='2147483647 tag I, amqplib reads 2147483647
2147483648 tag L, amqplib: Unexpected type tag "L"
1764300000000 tag L, amqplib: Unexpected type tag "L"'
)

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '/\/debian\/$/ && !found++') # this machine's own
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

(cd "$work" && npm install --silent --no-save --prefix "$work/npm" amqplib@2.3.1 >/dev/null)
cat >"$work/consumer.cjs" <<'CONSUMER'
const { decodeFields } = require('./npm/node_modules/amqplib/lib/codec.js');
for (const line of require('node:fs').readFileSync(0, 'utf8').trim().split('\n')) {
  const [value, hex] = line.split(' ');
  const entries = Buffer.from(hex, 'hex').subarray(4);
  const tag = String.fromCharCode(entries[2]);
  try {
    console.log(`${value} tag ${tag}, amqplib reads ${decodeFields(entries).k}`);
  } catch (error) {
    console.log(`${value} tag ${tag}, amqplib: ${error.message}`);
  }
}
CONSUMER

cat >"$work/client.py" <<'CLIENT'
from amqp.serialization import dumps

for value in (2**31 - 1, 2**31, 1_764_300_000_000):
    print(value, dumps('F', [{'k': value}]).hex())
CLIENT

for suite in trixie sid; do
  folder=$work/$suite
  mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial" "$folder/tree"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$folder/sources"
  apt=(apt-get -qq -o Dir::Etc::SourceList="$folder/sources" -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$folder/lists"
    -o Dir::Cache="$folder/cache" -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root)
  "${apt[@]}" update
  (cd "$folder" && "${apt[@]}" download python3-amqp python3-vine)
  for package in "$folder"/*.deb; do dpkg-deb --extract "$package" "$folder/tree"; done
  version=$(dpkg-deb --field "$folder"/python3-amqp_*.deb Version)
  echo "Debian $suite, python3-amqp $version"
  if [ "$version" != "${versions[$suite]}" ]; then
    echo "another version, not applicable (seen with ${versions[$suite]})"
    continue
  fi
  seen=$(PYTHONPATH="$folder/tree/usr/lib/python3/dist-packages" python3 "$work/client.py" | node "$work/consumer.cjs")
  echo "$seen"
  [ "$seen" = "${expected[$suite]}" ] || { echo "changed: expected"; echo "${expected[$suite]}"; exit 1; }
done
