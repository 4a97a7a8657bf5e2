#!/usr/bin/env bash
# With amqplib a program hears of the answer to basic.get only after deliveries that came behind it on the same channel: a consumer is called while what has
# come is read, and the promise of get() settles when all of it has been read. So the delivery tags are seen as 2, 3, 1. Where the consumer acknowledges with
# allUpTo, RabbitMQ removes the message of basic.get, which the program does not have yet: it is gone if the program ends now.
#
# Run as root on Debian, with mmdebstrap, iproute2, node and npm. It makes a Debian of its own in a temporary folder and a RabbitMQ in a network of its own.
set -euo pipefail

amqplib=2.3.1
suite=bookworm
version=3.10.8-1.1+deb12u1 # of rabbitmq-server
expected='delivery tags as the program sees them: 2 3 1
messages of the queue that basic.get was for, after ack(3, allUpTo) and the end of the connection: 0'

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '/\/debian\/$/ && !found++') # this machine's own
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT

cat >"$work/inside.sh" <<'INSIDE'
set -eu
ip link set lo up
mount -t tmpfs tmpfs "$1/tmp"
mount -t proc proc "$1/proc"
echo '127.0.0.1 localhost' >"$1/etc/hosts"
echo '[].' >"$1/tmp/plugins"
chroot --userspec=rabbitmq:rabbitmq "$1" env HOME=/var/lib/rabbitmq RABBITMQ_NODENAME=rabbit@localhost ERL_EPMD_ADDRESS=127.0.0.1 \
  RABBITMQ_ENABLED_PLUGINS_FILE=/tmp/plugins /usr/lib/rabbitmq/bin/rabbitmq-server >"$2.log" 2>&1 &
for _ in $(seq 120); do
  (exec 3<>/dev/tcp/127.0.0.1/5672) 2>/dev/null && break
  sleep 0.5
done
node "$2"
INSIDE

(cd "$work" && npm install --silent --no-save --prefix "$work" "amqplib@$amqplib" >/dev/null)
cat >"$work/client.cjs" <<'CLIENT'
const net = require('node:net');
const { setTimeout: delay } = require('node:timers/promises');
const { connect } = require('amqplib');

/** Longer than RabbitMQ needs for the answer and both deliveries. */
const HELD_MS = 1_000;

/** A network that keeps back what RabbitMQ says, and then brings all of it at once. */
let held;
let client;
const network = net.createServer((socket) => {
  client = socket;
  const server = net.connect(5672, '127.0.0.1');
  socket.pipe(server);
  server.on('data', (bytes) => (held ? held.push(bytes) : socket.write(bytes)));
  server.on('close', () => socket.end());
  for (const end of [server, socket]) end.on('error', () => end.destroy()); // RabbitMQ resets a connection that has been closed
});

async function main() {
  await new Promise((resolve) => network.listen(5673, '127.0.0.1', resolve));
  const connection = await connect('amqp://127.0.0.1:5673');
  const channel = await connection.createChannel();
  for (const queue of ['jobs', 'answers']) await channel.assertQueue(queue, { durable: true });
  channel.sendToQueue('jobs', Buffer.from('job'), { persistent: true });
  await channel.checkQueue('jobs'); // it is there by now
  const seen = [];
  const two = new Promise((resolve) => {
    channel.consume('answers', (message) => {
      seen.push(message.fields.deliveryTag);
      if (seen.length < 2) return;
      channel.ack(message, true);
      resolve();
    });
  });
  await channel.checkQueue('answers');
  held = [];
  const got = channel.get('jobs').then((message) => seen.push(message.fields.deliveryTag));
  await delay(HELD_MS);
  for (const answer of ['one', 'two']) channel.sendToQueue('answers', Buffer.from(answer));
  await delay(HELD_MS);
  client.write(Buffer.concat(held));
  held = undefined;
  await Promise.all([two, got]);
  console.log(`delivery tags as the program sees them: ${seen.join(' ')}`);
  await channel.close();
  await connection.close();
  const after = await connect('amqp://127.0.0.1');
  const { messageCount } = await (await after.createChannel()).checkQueue('jobs');
  console.log(`messages of the queue that basic.get was for, after ack(3, allUpTo) and the end of the connection: ${messageCount}`);
  await after.close();
  network.close();
}
main();
CLIENT

mmdebstrap --quiet --variant=minbase --include=rabbitmq-server "$suite" "$work/tree" "$mirror" 2>"$work/mmdebstrap.log"
found=$(chroot "$work/tree" dpkg-query --show --showformat='${Version}' rabbitmq-server)
echo "Debian $suite, rabbitmq-server $found, amqplib $amqplib"
if [ "$found" != "$version" ]; then
  echo 'another version, not applicable'
  exit 0
fi
seen=$(unshare --mount --net --pid --fork --kill-child bash "$work/inside.sh" "$work/tree" "$work/client.cjs")
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo 'this has changed' >&2
  exit 1
fi
