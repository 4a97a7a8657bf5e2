import { describe, expect, it } from 'vitest';
import { configSchema } from '../config/config-schema.js';
import { brokerPermissions } from './permissions.js';

const SEALED = {
  enabled: true,
  node: 'h',
  urls: ['amqp://u@h'],
  management_password_file: '/p',
  up: [{ exchange: 'celeryev' }],
  down: [{ exchange: 'celery.pidbox' }],
  learn: [{ queue: 'gate.way-*' }],
};
const permissions = (sealed: object) =>
  brokerPermissions(configSchema.parse({ amqp: { urls: ['amqp://u@h'], queue: 'jobs', exchange: '' }, sealed }));
const may = (permission: string, name: string) => new RegExp(permission).test(name);

describe('the least permissions of the broker', () => {
  it('are those for its own queues and the job queue, as long as executors are not sealed', () => {
    const least = { configure: '^kpx\\.', write: '^kpx\\.|^(amq\\.default)$', read: '^kpx\\.|^(jobs)$' };
    expect([permissions({}), permissions({ ...SEALED, enabled: false })]).toEqual([least, least]);
  });

  it('let it carry what [sealed] names, and nothing else', () => {
    const { configure, write, read } = permissions(SEALED);
    const names = ['kpx.dead-letter', 'jobs', 'amq.default', 'celeryev', 'celery.pidbox', 'gate.way-1', 'gate_way-1', 'a-gate.way-1'];
    const allowed = [configure, write, read].map((permission) => names.filter((name) => may(permission, name)));
    expect(allowed).toEqual([
      ['kpx.dead-letter', 'gate.way-1'],
      ['kpx.dead-letter', 'amq.default', 'celeryev'],
      ['kpx.dead-letter', 'jobs', 'celery.pidbox', 'gate.way-1'],
    ]);
  });
});
