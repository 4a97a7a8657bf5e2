#!/usr/bin/env bash
# amqplib writes a number into a message header with the smallest type that holds it: tag b up to 127, s up to 32767. py-amqp, the client below
# Celery and kombu, reads b as unsigned and s as a short string. So -5 arrives as 251, 300 as a comma, and with 200 the whole table cannot be
# read. A publisher in Node.js whose counter header passes 127 meets this at the 128th message. 70000 arrives as it is.
#
# Needs Debian's apt and python3, node and npm. Takes the packages from Debian's archive, and amqplib from npm, into a temporary folder and installs nothing.
set -euo pipefail

# What was seen, by suite and version of Debian's package python3-amqp.
declare -A versions=([trixie]=5.3.1-2 [sid]=5.3.1-3)
declare -A expected=(
  [trixie]='{"offset":-5} is read as {"offset": 251}
{"n":1,"count":300} is read as {"n": 1, "count": ","}
{"retries":200,"user":"alice"} is read as IndexError
{"count":70000} is read as {"count": 70000}'
  [sid]='{"offset":-5} is read as {"offset": 251}
{"n":1,"count":300} is read as {"n": 1, "count": ","}
{"retries":200,"user":"alice"} is read as IndexError
{"count":70000} is read as {"count": 70000}'
)

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '/\/debian\/$/ && !found++') # this machine's own
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

(cd "$work" && npm install --silent --no-save --prefix "$work/npm" amqplib@2.3.1 >/dev/null)
cat >"$work/publisher.cjs" <<'PUBLISHER'
const { encodeTable } = require('./npm/node_modules/amqplib/lib/codec.js');
for (const headers of [{ offset: -5 }, { n: 1, count: 300 }, { retries: 200, user: 'alice' }, { count: 70000 }]) {
  const table = Buffer.alloc(100);
  console.log(JSON.stringify(headers), table.subarray(0, encodeTable(table, headers, 0)).toString('hex'));
}
PUBLISHER
node "$work/publisher.cjs" >"$work/tables"

cat >"$work/client.py" <<'CLIENT'
import json
import sys
from amqp.serialization import loads

for line in sys.stdin:
    written, table = line.rstrip().split(' ')
    try:
        print(written, 'is read as', json.dumps(loads('F', bytes.fromhex(table), 0)[0][0]))
    except Exception as error:
        print(written, 'is read as', type(error).__name__)
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
  seen=$(PYTHONPATH="$folder/tree/usr/lib/python3/dist-packages" python3 "$work/client.py" <"$work/tables")
  echo "$seen"
  [ "$seen" = "${expected[$suite]}" ] || { echo "changed: expected"; echo "${expected[$suite]}"; exit 1; }
done
