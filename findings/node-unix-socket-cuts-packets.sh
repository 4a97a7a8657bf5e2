#!/usr/bin/env bash
# A SOCK_SEQPACKET socket keeps the borders of packets. node-unix-socket 0.2.7 reads one into a buffer of its own, whose size
# setInternalReadBufferSize() sets. It cuts a longer packet to that size without an error, an event or a flag. A receiver has to have a buffer
# above the longest packet that it accepts, or a length in the packet.
#
# Needs node and npm. Takes node-unix-socket from npm into a temporary folder.
set -euo pipefail

expected='packet of 100 bytes
packet of 1024 bytes
packet of 10 bytes'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-save node-unix-socket@0.2.7 >/dev/null
cat >seqpacket.cjs <<'PROGRAM'
const { SeqpacketServer, SeqpacketSocket } = require('node-unix-socket');

const LENGTHS = [100, 5000, 10];
let packets = 0;
const server = new SeqpacketServer();
server.on('connection', (peer) => {
  peer.setInternalReadBufferSize(1024);
  for (const event of ['end', 'close', 'error']) peer.on(event, () => console.log(event));
  peer.on('data', (packet) => {
    console.log(`packet of ${packet.length} bytes`);
    packets += 1;
    if (packets === LENGTHS.length) process.exit(0);
  });
});
server.listen(`${process.cwd()}/socket`);
const client = new SeqpacketSocket();
client.connect(`${process.cwd()}/socket`, () => {
  for (const length of LENGTHS) client.write(Buffer.alloc(length, 1), 0, length, () => {});
});
PROGRAM
seen=$(node seqpacket.cjs)
echo "node-unix-socket 0.2.7, sent 100, 5000 and 10 bytes"
echo "$seen"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
