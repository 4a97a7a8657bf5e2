// What kpx supersedes, at its fastest: each job is acknowledged and published again at once, round and round until its executor takes it.
// spinner.mjs '{"url":…,"queue":…,"exchange":…,"key":…,"executors":{USER:{"command":…,"args":…,"env":…}}}'
import { spawn } from 'node:child_process';
import { connect } from 'amqplib';

const { url, queue, exchange, key, executors } = JSON.parse(process.argv[2] ?? '');
/** @type {Map<string, import('node:child_process').ChildProcess>} */
const running = new Map();
process.on('SIGTERM', () => {
  for (const child of running.values()) child.kill('SIGKILL');
  process.exit(0);
});

const connection = await connect(url, { noDelay: true });
const channel = await connection.createChannel();
await channel.consume(queue, (message) => {
  if (!message) return;
  const { user } = JSON.parse(message.content.toString('utf8'));
  if (!running.has(user)) {
    const { command, args, env } = executors[user];
    running.set(user, spawn(command, args, { env, stdio: 'ignore' }));
  }
  channel.ack(message);
  const { headers, ...properties } = message.properties;
  channel.publish(exchange, key, message.content, { ...properties, headers: { ...headers, canHandle: true }, mandatory: true });
});
console.log('consuming');
