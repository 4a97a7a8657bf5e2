import { EXIT } from '@kpx/broker/output/exit';
import { bold, failure, say, success, warning } from '@kpx/broker/output/terminal';
import { lookUpGroups } from '@kpx/privhelper/system/name-service';
import type { KnimeUser } from '@kpx/protocol';
import { printable } from '@kpx/protocol';
import type { Command } from 'commander';
import { CONFIG_FILE, HELPER_CONFIG_FILE, PASSWORD_FILE } from '../broker-options.js';
import { knimeUser } from '../explain.js';
import { endCommandsWithThis } from '../interrupt.js';
import { goOnAs, takenOver } from '../leave-root.js';
import { accountChecks } from './accounts.js';
import { asBroker, examineAsBroker, findingsOf, type HandedOver, handOver, secretsIn } from './as-broker.js';
import { brokerAnswer, brokerChecks } from './broker.js';
import { capacityChecks } from './capacity.js';
import { examine, type Finding } from './check.js';
import { configurationChecks } from './configuration.js';
import { directoryChecks } from './directories.js';
import { driveChecks } from './drives.js';
import { helperChecks } from './helper.js';
import { hookChecks } from './hook.js';
import { kerberosChecks } from './kerberos.js';
import { nameChecks } from './names.js';
import { rabbitmqHostChecks } from './rabbitmq-host.js';
import { BROKER_ACCOUNT, type Scene, sceneOf } from './scene.js';
import { sealedChecks } from './sealed.js';
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
    .summary('check the whole set-up, and say what to fix')
    .description(
      'Checks the whole set-up: configuration, units, accounts, directories, RabbitMQ, helper and broker. Prints for each check the result, what ' +
        'it saw, and the fix. Changes nothing. As root it sees everything.',
    )
    .option('--user <USER>', 'also check whether this KNIME user can get an executor', knimeUser)
    .option('--config <FILE>', 'configuration of kpx-broker', CONFIG_FILE)
    .option('--helper-config <FILE>', 'configuration of kpx-privhelper', HELPER_CONFIG_FILE)
    .option('--password-file <FILE>', `RabbitMQ's password; when not given, amqp.password_file, or ${PASSWORD_FILE}`)
    .option('--json', 'print JSON, for programs')
    .addHelpText('after', '\nExit codes: 0 nothing has failed, warnings allowed; 78 something has.')
    .action(doctor);
}

async function doctor({ user, config, helperConfig, passwordFile, json = false }: Options): Promise<void> {
  endCommandsWithThis();
  const asked = { user, passwordFile, brokerFile: config, helperFile: helperConfig };
  const handedOver = await takenOver();
  // A check that still hangs would keep the program from ending by itself.
  if (handedOver !== undefined) return say(JSON.stringify(await asBroker(asked, handedOver as HandedOver)), () => process.exit());
  const findings = await look(sceneOf(asked));
  const failed = findings.some(({ result }) => result === 'fail');
  const said = json ? JSON.stringify({ result: failed ? 'fail' : 'ok', checks: findings }) : forPeople(findings);
  say(`${said}\n`, () => process.exit(failed ? EXIT.config : 0));
}

/** First the checks that need root. Then the others, as the broker's account: these read what the network sends. */
async function look(scene: Scene): Promise<Finding[]> {
  const answered = brokerAnswer(scene);
  const local = [
    ...configurationChecks(scene),
    ...accountChecks(scene),
    ...nameChecks(scene),
    ...kerberosChecks(scene),
    ...driveChecks(scene),
    ...wayOutChecks(scene),
    ...unitChecks(scene),
    ...directoryChecks(scene),
    ...capacityChecks(scene),
    ...hookChecks(scene),
    ...rabbitmqHostChecks(scene),
    ...(await sealedChecks(scene)),
    ...helperChecks(scene),
    ...brokerChecks(scene, answered),
  ];
  const findings = await examine(local);
  const secrets = secretsIn(scene);
  const account = await scene.brokerAccount().catch(() => undefined);
  if (!scene.isRoot) return [...findings, ...(await examineAsBroker(scene, secrets, account?.uid))];
  const groups = await lookUpGroups(BROKER_ACCOUNT, AbortSignal.timeout(LOOK_UP_TIMEOUT_MS)).catch(() => []);
  const successor = account && { ...account, groups: groups.map(({ gid }) => gid) };
  return [...findings, ...(await findingsOf(goOnAs(await handOver(scene, secrets, account?.uid), successor)))];
}

const RESULTS = { ok: success, warn: warning, fail: failure, skipped: (text: string) => text };
const RESULT_CHARS = 7;

function forPeople(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ name }) => name.length));
  const indent = ' '.repeat(RESULT_CHARS + width + 4);
  const lines = findings.flatMap((finding) => {
    const head = `${RESULTS[finding.result](finding.result.padEnd(RESULT_CHARS))}  ${bold(finding.name.padEnd(width))}  ${shown(finding.seen)}`;
    return 'fix' in finding ? [head, `${indent}-> ${shown(finding.fix)}`] : [head];
  });
  return [...lines, '', summary(findings)].join('\n');
}

/** Several problems of one file are a line each. */
const shown = (text: string) => text.split('\n').map(printable).join('; ');

function summary(findings: readonly Finding[]): string {
  const count = (result: Finding['result']) => findings.filter((finding) => finding.result === result).length;
  const counts = (['fail', 'warn', 'skipped', 'ok'] as const).map((result) => `${count(result)} ${result}`).join(', ');
  return count('fail') === 0 ? `${counts}: nothing has failed.` : `${counts}: fix what has failed, from the first to the last.`;
}
