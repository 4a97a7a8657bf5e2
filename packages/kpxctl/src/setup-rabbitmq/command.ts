import { isLoopback } from '@kpx/broker/config/address';
import { type Config, readConfig } from '@kpx/broker/config/config';
import { readTlsFiles, type TlsFiles } from '@kpx/broker/config/tls-files';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { bold, complain, failure, say, success, warning } from '@kpx/broker/output/terminal';
import type { Management } from '@kpx/broker/rabbitmq/management';
import { printable } from '@kpx/protocol';
import type { Command } from 'commander';
import { CONFIG_FILE, HELPER_CONFIG_FILE } from '../broker-options.js';
import { goOnAs, isRoot, takenOver, textOf } from '../leave-root.js';
import { adminPassword } from './admin-password.js';
import { definitionsOf } from './definitions.js';
import { type Login, loginsOf, writePassword, writeSecret } from './passwords.js';
import { type Seen, type Step, shown, stepsOf, type Wanted } from './steps.js';

const MANAGEMENT_PORT = 15_672;

interface Options {
  readonly admin?: string;
  readonly definitions?: string;
  readonly adminPasswordFile?: string;
  readonly managementUrl?: string;
  readonly apply?: boolean;
  readonly newPasswords?: boolean;
  readonly config: string;
  readonly helperConfig: string;
}

export function addSetupRabbitmq(program: Command): void {
  program
    .command('setup-rabbitmq')
    .summary('make the RabbitMQ users of kpx and the executors')
    .description(
      'Says what RabbitMQ lacks for kpx: the users of broker and executors, their passwords in the files that the configurations name, the least ' +
        'permissions, and the policy that a quorum job queue needs. Changes nothing without --apply. Asks RabbitMQ by its management API, or, with ' +
        '--definitions, asks nobody.',
    )
    .option('--admin <NAME>', 'an administrator of RabbitMQ; kpxctl asks for the password, or reads it from standard input')
    .option('--admin-password-file <FILE>', 'a file with the password of --admin')
    .option(
      '--management-url <URL>',
      `where the management API is; when not given, the first of amqp.management_urls, or port ${MANAGEMENT_PORT} of the first host in amqp.urls`,
    )
    .option('--definitions <FILE>', 'ask nobody: write a file for rabbitmqctl import_definitions, with hashes of both passwords')
    .option('--apply', 'make the changes')
    .option('--new-passwords', 'give both users new passwords, also where they have some')
    .option('--config <FILE>', 'configuration of kpx-broker', CONFIG_FILE)
    .option('--helper-config <FILE>', 'configuration of kpx-privhelper', HELPER_CONFIG_FILE)
    .addHelpText(
      'after',
      '\nExit codes: 0 all is as it has to be, or was said; 69 RabbitMQ does not answer; 77 not permitted; 78 something has to be done first.',
    )
    .action(setUp);
}

/** For the process that asks RabbitMQ. */
interface HandedOver {
  readonly wanted: Omit<Wanted, 'api'> & { readonly api: Omit<Management, 'files'>; readonly files: Partial<TlsFiles> };
  readonly apply: boolean;
}

async function setUp(options: Options): Promise<void> {
  const handedOver = (await takenOver()) as HandedOver | undefined;
  if (handedOver !== undefined) return tell(await asked(handedOver));
  if ((options.admin === undefined) === (options.definitions === undefined)) {
    throw new CommandError(EXIT.usage, 'setup-rabbitmq takes either --admin, or --definitions');
  }
  const { config: file, helperConfig, newPasswords = false } = options;
  const config = await readConfig(file);
  const logins = await loginsOf(config, helperConfig, newPasswords);
  if (options.definitions !== undefined) await defineIn(options.definitions, logins, config, options.apply === true);
  else await makeThem(options, options.admin ?? '', { amqp: config.amqp, sealed: config.sealed, logins, anew: newPasswords });
}

/** By the management API. */
async function makeThem(options: Options, admin: string, known: Omit<Wanted, 'api'>): Promise<void> {
  const wanted = { ...known, ...(await accessTo(options, admin, known.amqp)) };
  const first = await ask({ wanted, apply: false });
  if (options.apply !== true || first.code !== 0) return tell(first);
  // The files first: a password that RabbitMQ has, and nobody else, is lost.
  for (const login of wanted.logins) await writePassword(login);
  tell(await ask({ wanted, apply: true }));
}

async function defineIn(file: string, logins: readonly Login[], config: Config, apply: boolean): Promise<void> {
  const definitions = definitionsOf(logins, config);
  const made = logins.filter(({ content }) => content !== undefined).map((login) => login.file);
  for (const login of apply ? logins : []) await writePassword(login);
  if (apply) await writeSecret(file, `${JSON.stringify(definitions, undefined, 2)}\n`);
  const lines = [
    ...made.map((path) => `${path}: a new password`),
    ...definitions.permissions.map(({ user, vhost, ...others }) => `user ${user}: in virtual host "${vhost}" ${shown(others)}`),
    '',
    apply
      ? `${file} is written. On the RabbitMQ machine: rabbitmqctl import_definitions FILE. It gives these users these passwords, tags and permissions, also where they are there.`
      : 'Nothing was changed: --apply does it.',
  ];
  say(lines.map((line) => `${printable(line)}\n`).join(''));
}

type Access = Pick<HandedOver['wanted'], 'api' | 'files'>;

async function accessTo({ managementUrl, adminPasswordFile }: Options, user: string, amqp: Config['amqp']): Promise<Access> {
  const url = urlOf(managementUrl, amqp);
  const files = url.protocol === 'https:' ? await readTlsFiles(amqp.tls).catch(unusable) : {};
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (url.protocol === 'http:' && host !== 'localhost' && !isLoopback({ host, port: 0 })) {
    complain(`${url.href} is not encrypted: the administrator's password can be read on the way. https:// is better.\n`);
  }
  const password = await adminPassword(user, adminPasswordFile);
  return { api: { name: `RabbitMQ's management API at ${url.href}`, url: url.href, user, password }, files };
}

function urlOf(given: string | undefined, { management_urls, urls }: Config['amqp']): URL {
  const text = given ?? management_urls[0] ?? `http://${new URL(urls[0] ?? '').hostname}:${MANAGEMENT_PORT}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') {
    throw new CommandError(EXIT.usage, `--management-url ${printable(text)}: expected "http://HOST:PORT" or "https://…", without a user`);
  }
  return url;
}

function unusable({ message }: Error): never {
  throw new CommandError(EXIT.config, `${message}.`);
}

interface Answer {
  readonly code: number;
  readonly said: string;
}

/** Root reads nothing that comes from the network. */
async function ask(handedOver: HandedOver): Promise<Answer> {
  if (!isRoot()) return await asked(handedOver);
  const { stdin, stdout, stderr, ended } = goOnAs(handedOver);
  stdin.end();
  const texts = Promise.all([textOf(stdout), textOf(stderr)]);
  texts.catch(() => {}); // where it cannot be started, which is said next
  const code = await ended;
  const [said, problem] = await texts;
  if (code !== 0 && said === '') throw new CommandError(code as CommandError['exitCode'], problem.trimEnd());
  complain(problem);
  return { code, said };
}

async function asked({ wanted: { api, files, ...wanted }, apply }: HandedOver): Promise<Answer> {
  const seen = await stepsOf({ ...wanted, api: { ...api, files: async () => files } });
  const isStuck = seen.steps.some(({ state }) => state === 'fails');
  const done = new Set<Step>();
  try {
    for (const step of apply && !isStuck ? seen.steps : []) {
      if (step.state !== 'to do') continue;
      await step.apply?.();
      done.add(step);
    }
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    const before = [...done].map(({ name }) => name).join(', ') || 'nothing';
    throw new CommandError(error.exitCode, `${error.message}\nDone before that: ${before}. Run this again.`);
  }
  return { code: isStuck ? EXIT.config : 0, said: forPeople(api.url, seen, done) };
}

const STATES = { ok: success, 'to do': warning, done: success, fails: failure };

function forPeople(url: string, { version, vhost, steps }: Seen, done: ReadonlySet<Step>): string {
  const lines = steps.map((step) => {
    const state = done.has(step) ? 'done' : step.state;
    return `${STATES[state](state.padEnd(5))}  ${bold(printable(step.name))}: ${printable(step.text)}`;
  });
  const is = (state: Step['state']) => steps.some((step) => step.state === state);
  let end = 'Nothing is to be done.';
  if (is('fails')) end = 'Nothing was changed: see to what fails first.';
  else if (done.size > 0) end = 'Done. Restart kpx-broker where it runs; executors that start from now on have their password.';
  else if (is('to do')) end = 'Nothing was changed: --apply does it.';
  return [`RabbitMQ ${printable(version)} at ${url}, virtual host "${printable(vhost)}"`, '', ...lines, '', `${end}\n`].join('\n');
}

function tell({ code, said }: Answer): void {
  say(said);
  process.exitCode = code;
}
