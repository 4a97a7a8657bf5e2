import { parse } from 'smol-toml';
import { describe, expect, it } from 'vitest';
import { sealed } from './sealed.js';

const ENABLED = `enabled = true
node = "host1"
urls = ["amqp://kpx-broker@127.0.0.1:5673"]
management_password_file = "/etc/kpx/sealed-password"
`;

const judged = (text: string) => sealed.safeParse(parse(text));
const problems = (text: string) => judged(text).error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`) ?? [];

describe('[sealed]', () => {
  it('is off, and needs nothing then', () => {
    expect(sealed.parse(undefined)).toMatchObject({
      enabled: false,
      window: 256,
      reply_grace: 3_600_000,
      replies_max: 200,
      refused_per_minute: 10,
      api_timeout: 5_000,
    });
    expect(problems('enabled = false')).toEqual([]);
  });

  it('takes what a worker declares', () => {
    const text = `${ENABLED}[job_queue]
durable = true
arguments = { x-queue-type = "quorum", x-max-priority = 5, x-single-active-consumer = true }
[[up]]
exchange = "celeryev"
type = "topic"
[[up]]
exchange = "results"
keys = ["done"]
`;
    expect(problems(text)).toEqual([]);
    expect(sealed.parse(parse(text)).up).toEqual([
      { exchange: 'celeryev', type: 'topic', durable: true, auto_delete: false, keys: [] },
      { exchange: 'results', type: 'direct', durable: true, auto_delete: false, keys: ['done'] },
    ]);
  });

  it.each([
    ['enabled = true\nnode = "h"\nmanagement_password_file = "/x"', /^urls: expected the accounts’ RabbitMQ/],
    ['enabled = true\nnode = "h"\nurls = ["amqp://u@h"]', /^management_password_file: expected the file/],
    ['urls = ["amqp://u:hunter2@h"]', /^urls\.0: holds a password: put it into sealed\.management_password_file/],
    ['urls = ["amqp://h:5673"]', /^urls\.0: names no RabbitMQ user/],
    ['urls = ["amqp://u@h/knime"]', /^urls\.0: names a virtual host: each account has its own/],
    ['urls = ["http://u@h"]', /^urls\.0: expected "amqp:/],
    ['management_url = "http://u:p@h"', /^management_url: expected "http:.*without a user/],
    ['node = "Host_1"', /^node: expected 1 to 32 characters out of a-z 0-9 -/],
    [`node = "${'x'.repeat(33)}"`, /^node: /],
    ['window = 0', /^window: /],
    ['reply_grace = 3600', /^reply_grace: /],
    ['[[up]]\nexchange = ""', /^up\.0\.exchange: expected a name/],
    ['[[up]]\nexchange = "kpx.unrouted"', /^up\.0\.exchange: expected a name, not one of kpx’s own/],
    ['[[up]]\nexchange = "a"\n[[up]]\nexchange = "a"', /^up: names the exchange "a" twice/],
    ['[[up]]\nexchange = "a"\ntype = "x-delayed-message"', /^up\.0\.type: /],
    ['[[down]]\nexchange = "a"\n[[up]]\nexchange = "a"', /^down: names the exchange "a", which is in \[\[sealed\.up\]\] too/],
    ['[[down]]\nexchange = "a"\n[[down]]\nexchange = "a"', /^down: names the exchange "a" twice/],
    ['[[down]]\nexchange = "a"\ntype = "direct"', /^down: names the direct exchange "a" without keys/],
    ['[[learn]]\nqueue = "*"', /^learn\.0\.queue: expected a beginning that names the queues/],
    ['[[learn]]\nqueue = "amq.*"', /^learn\.0\.queue: expected a beginning that names the queues/],
    ['[[learn]]\nqueue = "kpx.*"', /^learn\.0\.queue: expected a name, not one of kpx’s own/],
    ['[[learn]]\nqueue = "q-*"\nmax = 0', /^learn\.0\.max: /],
    ['answers = "all"', /^answers: /],
    ['[job_queue.arguments]\nx-overflow = "drop-head"', /^job_queue\.arguments: expected "x-overflow" = "reject-publish" or none/],
    ['[job_queue.arguments]\nx-overflow = "reject-publish-dlx"', /^job_queue\.arguments: expected/],
    ['[job_queue.arguments]\nx-max-length = 1.5', /^job_queue\.arguments\.x-max-length: /],
  ])('says which key is wrong, and what is expected: %j', (text, message) => {
    expect(problems(text)).toEqual([expect.stringMatching(message)]);
    expect(problems(text).join()).not.toContain('hunter2');
  });
});
