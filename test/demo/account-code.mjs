// The code of a user's workflow, as far as RabbitMQ is concerned: what it can try with what stands in its executor's environment.
//
//   account-code.mjs take MS | publish EXCHANGE KEY BODY CORRELATION_ID | vhost NAME | management URL
//
// Prints its outcome on the last line.

import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'amqplib';

const QUEUE = 'knime-jobs';
const MANY = 100;
const TIMEOUT_MS = 5_000;
const address = process.env.KNIME_EXECUTOR_MSGQ ?? '';

/** Takes jobs for a while, and gives them back by its end. @param {string} ms */
async function take(ms) {
  const connection = await connect(address);
  const channel = await connection.createChannel();
  await channel.prefetch(MANY);
  /** @type {string[]} */
  const users = [];
  await channel.consume(QUEUE, (message) => message && users.push(JSON.parse(message.content.toString('utf8')).user));
  console.log('consuming');
  await sleep(Number(ms));
  await connection.close();
  return users.join(' ');
}

/** @param {string} exchange @param {string} key @param {string} body @param {string} correlationId */
async function publish(exchange, key, body, correlationId) {
  const connection = await connect(address);
  const channel = await connection.createConfirmChannel();
  let outcome = 'taken';
  channel.on('return', () => {
    outcome = 'nobody there';
  });
  channel.publish(exchange, key, Buffer.from(body), { mandatory: true, correlationId });
  await channel.waitForConfirms();
  await connection.close();
  return outcome;
}

/** @param {string} name */
async function vhost(name) {
  const url = new URL(address);
  url.pathname = `/${encodeURIComponent(name)}`;
  const connection = await connect(url.href);
  await connection.close();
  return 'connected';
}

/** @param {string} at */
async function management(at) {
  const { username, password } = new URL(address);
  const authorization = `Basic ${btoa(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`)}`;
  const { status } = await fetch(`${at}/api/whoami`, { headers: { authorization }, signal: AbortSignal.timeout(TIMEOUT_MS) });
  return String(status);
}

const [what = '', ...args] = process.argv.slice(2);
/** @type {Record<string, (...args: string[]) => Promise<string>>} */
const attempts = { take, publish, vhost, management };
const outcome = await attempts[what]?.(...args).catch((error) => `refused: ${error.message}`);
console.log(outcome);
process.exit();
