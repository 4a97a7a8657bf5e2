import { expect, it } from 'vitest';
import { addressOf, portsRules } from './accounts-rabbitmq.js';

it.each([
  ['amqp://kpx-broker@localhost:5673', '127.0.0.1:5673'],
  ['amqp://kpx-broker@127.0.0.1', '127.0.0.1:5672'],
  ['amqps://kpx-broker@rabbitmq.corp.example', 'rabbitmq.corp.example:5671'],
  ['amqp://kpx-broker@[::1]:5673', '[::1]:5673'],
])('has one address for one RabbitMQ: %s is %s', (url, address) => expect(addressOf(url)).toBe(address));

const PORTS = { amqp: 5_673, management: 15_673 };

it.each([
  [300, '300-4294967294'],
  [1_000, '1000-4294967294'],
  [10_000, '1000-4294967294'],
])('has the accounts of people connect, and those of executors where accounts.min_uid is %d: %s', (minUid, people) => {
  const rules = portsRules(PORTS, minUid).text.split('\n');
  const returned = rules.filter((rule) => rule.trim() === `tcp dport 5673 meta skuid ${people} return`);
  expect(returned).toHaveLength(1);
  expect(rules.filter((rule) => rule.includes(`meta skuid ${people} update @connecting`))).toHaveLength(1);
});
