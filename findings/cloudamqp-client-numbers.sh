#!/usr/bin/env bash
# @cloudamqp/amqp-client, a client of RabbitMQ for Node.js and browsers, writes a whole number from 2^31 to 2^32 - 1 into a message header with the
# tag I, 32 bits signed: 3000000000, a size in bytes say, arrives as -1294967296. Larger ones get 64 bits and arrive as they are. A number with a
# fraction gets the tag f, 32 bits: 0.1 arrives as 0.10000000149011612.
#
# Needs node and npm. Takes @cloudamqp/amqp-client from npm into a temporary folder.
set -euo pipefail

expected='2147483647 is written with the tag I, arrives as 2147483647
3000000000 is written with the tag I, arrives as -1294967296
4294967296 is written with the tag l, arrives as 4294967296
0.5 is written with the tag f, arrives as 0.5
0.1 is written with the tag f, arrives as 0.10000000149011612'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-save @cloudamqp/amqp-client@4.1.1 >/dev/null
cat >program.cjs <<'PROGRAM'
const { AMQPView } = require('./node_modules/@cloudamqp/amqp-client/lib/cjs/amqp-view.js');

const TAG_AT = 6; // after the table's length, the key's length and the key
for (const value of [2 ** 31 - 1, 3_000_000_000, 2 ** 32, 0.5, 0.1]) {
  const view = new AMQPView(new ArrayBuffer(64));
  view.setTable(0, { k: value }, false);
  const tag = String.fromCharCode(view.getUint8(TAG_AT));
  console.log(`${value} is written with the tag ${tag}, arrives as ${view.getTable(0, false)[0].k}`);
}
PROGRAM
seen=$(node program.cjs)
echo "@cloudamqp/amqp-client 4.1.1"
echo "$seen"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
