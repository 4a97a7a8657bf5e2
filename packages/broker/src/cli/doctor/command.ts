import { MSGQ_BYTES_MAX } from '@kpx/privhelper/environment';
import { lookUpGroups } from '@kpx/privhelper/system/name-service';
import { readTrustedFile } from '@kpx/privhelper/system/trusted-file';
import type { KnimeUser } from '@kpx/protocol';
import type { Command } from 'commander';
import { readPassword } from '../../config.js';
import { CONFIG_FILE, PASSWORD_FILE } from '../../dead-letters/access.js';
import { EXIT } from '../../exit.js';
import { printable } from '../../format.js';
import { leaveRoot } from '../../leave-root.js';
import { bold, failure, say, success, warning } from '../../terminal.js';
import { HELPER_CONFIG_FILE } from '../broker-options.js';
import { knimeUser } from '../explain.js';
import { endCommandsWithThis } from '../interrupt.js';
import { accountChecks } from './accounts.js';
import { type Answered, brokerAnswer, brokerChecks } from './broker.js';
import { capacityChecks } from './capacity.js';
import { ASK_AS_ROOT, examine, type Finding, once, Unseen } from './check.js';
import { configurationChecks, firstUrl } from './configuration.js';
import { directoryChecks } from './directories.js';
import { helperAnswers, helperChecks } from './helper.js';
import { nameChecks } from './names.js';
import { rabbitmqChecks, type Secrets } from './rabbitmq.js';
import { rabbitmqHostChecks } from './rabbitmq-host.js';
import { type Asked, BROKER_ACCOUNT, type Scene, sceneOf } from './scene.js';
import { unitChecks } from './units.js';
import { wayOutChecks } from './ways-out.js';

/** How long the name service may take for the groups of the broker's account, in milliseconds. */
const LOOK_UP_TIMEOUT_MS = 10_000;

interface Options {
  readonly user?: KnimeUser;
  readonly config: string;
  readonly helperConfig: string;
  readonly passwordFile?: string;
  readonly json?: boolean;
}

export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .summary('looks at the whole set-up, and says what to mend')
    .description(
      'Looks at the whole set-up: configuration, units, accounts, directories, RabbitMQ, helper and broker. Says of each check whether it is ' +
        'well, what was seen, and what to do. Changes nothing. As root it sees everything.',
    )
    .option('--user <USER>', 'also look whether this KNIME user can get an executor', knimeUser)
    .option('--config <FILE>', 'configuration of kpx-broker', CONFIG_FILE)
    .option('--helper-config <FILE>', 'configuration of kpx-privhelper', HELPER_CONFIG_FILE)
    .option('--password-file <FILE>', `RabbitMQ's password; when not given, amqp.password_file, or ${PASSWORD_FILE}`)
    .option('--json', 'for programs')
    .addHelpText('after', '\nExit codes: 0 nothing has failed, warnings allowed; 78 something has.')
    .action(doctor);
}

async function doctor({ user, config, helperConfig, passwordFile, json = false }: Options): Promise<void> {
  endCommandsWithThis();
  const findings = await look({ user, passwordFile, brokerFile: config, helperFile: helperConfig });
  const failed = findings.some(({ result }) => result === 'fail');
  const said = json ? JSON.stringify({ result: failed ? 'fail' : 'ok', checks: findings }) : forPeople(findings);
  // What hangs still would keep the program from ending by itself.
  say(`${said}\n`, () => process.exit(failed ? EXIT.config : 0));
}

/** What needs root first. Then root is given up for the broker's account, as which the rest is tried: what the network sends is read there. */
async function look(asked: Asked): Promise<Finding[]> {
  const scene = sceneOf(asked);
  const answered = brokerAnswer(scene);
  const local = [
    ...configurationChecks(scene),
    ...accountChecks(scene),
    ...nameChecks(scene),
    ...wayOutChecks(scene),
    ...unitChecks(scene),
    ...directoryChecks(scene),
    ...capacityChecks(scene),
    ...rabbitmqHostChecks(scene),
    ...helperChecks(scene),
    ...brokerChecks(scene, answered),
  ];
  const findings = await examine(local);
  return [...findings, ...(await asBroker(scene, answered))];
}

async function asBroker(scene: Scene, answered: Answered): Promise<Finding[]> {
  const secrets = await secretsOf(scene);
  const account = await scene.brokerAccount().catch(() => undefined);
  const groups = await lookUpGroups(BROKER_ACCOUNT, AbortSignal.timeout(LOOK_UP_TIMEOUT_MS)).catch(() => []);
  leaveRoot(account && { ...account, groups: groups.map(({ gid }) => gid) });
  const { checks, close } = await rabbitmqChecks(scene, secrets, answered);
  try {
    return await examine([...checks, helperAnswers(scene, answered, account?.uid)]);
  } finally {
    close();
  }
}

/** Read while this is root; one that cannot be read is the matter of whoever asks for it. */
async function secretsOf({ broker, helper, passwordFile, isRoot }: Scene): Promise<Secrets> {
  const unseen = (error: Error) => {
    throw error instanceof Unseen ? error : new Unseen(isRoot ? error.message : ASK_AS_ROOT);
  };
  const password = once(async () => {
    const { amqp } = await broker();
    const own = passwordFile ?? amqp.password_file;
    // The broker's own file is read as the broker.
    if (passwordFile === undefined && own !== '') return await readPassword(amqp);
    return await readPassword({ ...amqp, password_file: own || PASSWORD_FILE }).catch(unseen);
  });
  const executorUrl = once(async () => {
    const { msgq_file: file } = (await helper()).executor;
    const msgq = await readTrustedFile(file, 'secret', MSGQ_BYTES_MAX).catch(unseen);
    return firstUrl(file, msgq.trim());
  });
  const isOwnFile = passwordFile === undefined && (await broker().catch(() => undefined))?.amqp.password_file !== '';
  await Promise.allSettled([...(isOwnFile ? [] : [password()]), executorUrl()]);
  return { password, executorUrl: () => executorUrl().catch(unseen) };
}

const RESULTS = { ok: success, warn: warning, fail: failure, skipped: (text: string) => text };
const RESULT_CHARS = 7;

function forPeople(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ name }) => name.length));
  const indent = ' '.repeat(RESULT_CHARS + width + 4);
  const lines = findings.flatMap((finding) => {
    const head = `${RESULTS[finding.result](finding.result.padEnd(RESULT_CHARS))}  ${bold(finding.name.padEnd(width))}  ${shown(finding.seen)}`;
    return 'mend' in finding ? [head, `${indent}-> ${shown(finding.mend)}`] : [head];
  });
  return [...lines, '', summary(findings)].join('\n');
}

/** Several problems of one file are a line each. */
const shown = (text: string) => text.split('\n').map(printable).join('; ');

function summary(findings: readonly Finding[]): string {
  const count = (result: Finding['result']) => findings.filter((finding) => finding.result === result).length;
  const counts = (['fail', 'warn', 'skipped', 'ok'] as const).map((result) => `${count(result)} ${result}`).join(', ');
  return count('fail') === 0 ? `${counts}: nothing has failed.` : `${counts}: mend what has failed, from the first to the last.`;
}
