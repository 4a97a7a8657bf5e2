#!/usr/bin/env bash
# rabbitmq-client (npm) sends what fits and says nothing of the rest. A short string (routing key, message id, correlation id, key of a header) of
# more than 255 bytes is cut at 255, where other clients raise an error: two long ids that differ at their end are one. A Date as a header
# arrives as an empty table, a Buffer as a table of its bytes by number, a header that is a function not at all.
#
# Needs node and npm. Takes rabbitmq-client from npm into a temporary folder.
set -euo pipefail

expected='correlation id: 255 of 300 bytes
header date: {}
header bytes: {"0":97,"1":98}
header call: undefined'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-save rabbitmq-client@5.0.8 >/dev/null
cat >program.cjs <<'PROGRAM'
const { decodeFrame, genContentFrames } = require('rabbitmq-client/lib/codec.js');

const FRAME_BYTES_MAX = 131_072;
const headers = { date: new Date(0), bytes: Buffer.from('ab'), call() {} };
const message = { exchange: '', routingKey: 'jobs', correlationId: 'c'.repeat(300), headers };
const [, header] = genContentFrames(1, message, Buffer.from('job'), FRAME_BYTES_MAX);
let offset = 0;
const read = async (length) => header.subarray(offset, (offset += length));
decodeFrame(read).then(({ fields }) => {
  console.log(`correlation id: ${fields.correlationId.length} of ${message.correlationId.length} bytes`);
  for (const key of Object.keys(headers)) console.log(`header ${key}: ${JSON.stringify(fields.headers[key])}`);
});
PROGRAM
seen=$(node program.cjs)
echo "rabbitmq-client 5.0.8"
echo "$seen"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
