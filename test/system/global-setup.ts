import type { TestProject } from 'vitest/node';
import { type BootedFacts, bootedFacts } from '../fixtures/booted/facts.mjs';
import { BootedMachine } from '../fixtures/booted/machine.js';
import { newUsers, RabbitmqAccess, type RabbitmqFacts } from '../fixtures/rabbitmq-access.js';
import { recordCoverage } from './coverage.js';

declare module 'vitest' {
  export interface ProvidedContext {
    bootedMachine: BootedFacts;
    bootedRabbitmq: RabbitmqFacts;
  }
}

/** Once in a whole run: the machine that test/fixtures/booted/boot.mjs has booted, with RabbitMQ's users made. */
export default async function setup(project: TestProject): Promise<() => void> {
  const machine = bootedFacts();
  if (machine?.rabbitmq === undefined) throw new Error('These tests need a booted machine: npm run test:system');
  const { admin, ...server } = machine.rabbitmq;
  const rabbitmq = { ...server, users: { ...newUsers(), admin } };
  await new RabbitmqAccess(rabbitmq).createUsers();
  project.provide('bootedMachine', machine);
  project.provide('bootedRabbitmq', rabbitmq);
  return await recordCoverage(new BootedMachine(machine));
}
