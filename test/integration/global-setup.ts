import type { TestProject } from 'vitest/node';
import { createAccounts } from '../fixtures/accounts.js';
import { startRabbitmq } from '../fixtures/rabbitmq.js';
import type { RabbitmqFacts } from '../fixtures/rabbitmq-access.js';

declare module 'vitest' {
  export interface ProvidedContext {
    rabbitmq: RabbitmqFacts;
  }
}

/** Once in a whole run: the accounts, and one RabbitMQ of which each test takes a virtual host of its own (shared-rabbitmq.ts). */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  createAccounts();
  const rabbitmq = await startRabbitmq();
  project.provide('rabbitmq', rabbitmq.facts);
  return () => rabbitmq.remove();
}
