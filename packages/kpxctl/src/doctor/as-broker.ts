import { existsSync } from 'node:fs';
import { readPassword } from '@kpx/broker/config/config';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { MSGQ_BYTES_MAX } from '@kpx/privhelper/environment';
import { readTrustedFile } from '@kpx/privhelper/system/trusted-file';
import { sharedMsgqFile } from '@kpx/protocol';
import { z } from 'zod';
import { PASSWORD_FILE } from '../broker-options.js';
import { type GoingOn, textOf } from '../leave-root.js';
import { brokerAnswer } from './broker.js';
import { ASK_AS_ROOT, examine, type Finding, once, Skipped } from './check.js';
import { firstUrl } from './configuration.js';
import { helperAnswers } from './helper.js';
import { rabbitmqChecks, type Secrets } from './rabbitmq.js';
import { type Asked, type BrokerConfig, type Scene, sceneOf } from './scene.js';

/*
 * The checks that kpxctl doctor runs as the broker's account: RabbitMQ and the helper. Where root asks, a process of its own runs them. Root hands it
 * what it may not read, and it hands back its findings.
 */

export async function examineAsBroker(scene: Scene, secrets: Secrets, brokerUid: number | undefined): Promise<Finding[]> {
  const answered = brokerAnswer(scene);
  const { checks, close } = await rabbitmqChecks(scene, secrets, answered);
  try {
    return await examine([...checks, helperAnswers(scene, answered, brokerUid)]);
  } finally {
    close();
  }
}

/** One that cannot be read is the matter of whoever asks for it. */
export function secretsIn({ broker, helper, passwordFile, isRoot }: Scene): Secrets {
  const unseen = (error: Error) => {
    throw error instanceof Skipped ? error : new Skipped(isRoot ? error.message : ASK_AS_ROOT);
  };
  const password = once(async () => {
    const { amqp } = await broker();
    const own = passwordFile ?? amqp.password_file;
    // The broker's own file is read as the broker.
    if (passwordFile === undefined && own !== '') return await readPassword(amqp);
    return await readPassword({ ...amqp, password_file: own || PASSWORD_FILE }).catch(unseen);
  });
  const executorUrl = once(async () => {
    const { msgq_file: file, sealed } = (await helper()).executor;
    if (sealed) throw new Skipped('each account has a RabbitMQ user of its own: executor.sealed');
    const msgq = await readTrustedFile(file, 'secret', MSGQ_BYTES_MAX).catch(unseen);
    return firstUrl(file, msgq.trim());
  });
  const formerFile = once(async () => sharedMsgqFile((await helper()).executor.msgq_file));
  const formerUrl = once(async () => {
    const file = await formerFile();
    const kept = await readTrustedFile(file, 'secret', MSGQ_BYTES_MAX).catch((error: Error) => {
      if (isRoot && !existsSync(file)) return undefined;
      return unseen(error);
    });
    return kept === undefined ? undefined : firstUrl(file, kept.trim());
  });
  return { password, executorUrl: () => executorUrl().catch(unseen), formerFile, formerUrl: () => formerUrl().catch(unseen) };
}

/** The result of reading something: its value, or why there is none. */
const read = z.union([
  z.strictObject({ value: z.string() }),
  z.strictObject({ unseen: z.string() }),
  z.strictObject({ problem: z.string() }),
]);
type Read = z.infer<typeof read>;

export interface HandedOver {
  /** undefined: {@link Scene.broker} cannot be had. */
  readonly config: BrokerConfig | undefined;
  readonly brokerUid: number | undefined;
  /** undefined: the broker's own file, which is read as the broker. */
  readonly password: Read | undefined;
  readonly executorUrl: Read;
  readonly formerFile: Read;
  /** Empty: none is kept. */
  readonly formerUrl: Read;
}

export async function handOver(
  scene: Scene,
  { password, executorUrl, formerFile, formerUrl }: Secrets,
  brokerUid: number | undefined,
): Promise<HandedOver> {
  const config = await scene.broker().catch(() => undefined);
  const isOwnFile = scene.passwordFile === undefined && config?.amqp.password_file !== '';
  return {
    config,
    brokerUid,
    password: isOwnFile ? undefined : await reading(password()),
    executorUrl: await reading(executorUrl().then(({ href }) => href)),
    formerFile: await reading(formerFile()),
    formerUrl: await reading(formerUrl().then((url) => url?.href ?? '')),
  };
}

const reading = async (wanted: Promise<string>): Promise<Read> =>
  await wanted.then(
    (value) => ({ value }),
    (error: Error) => (error instanceof Skipped ? { unseen: error.message } : { problem: error.message }),
  );

function toldOf(what: Read): string {
  if ('value' in what) return what.value;
  throw 'unseen' in what ? new Skipped(what.unseen) : new Error(what.problem);
}

/** In the process that goes on as the broker's account. */
export async function asBroker(
  asked: Asked,
  { config, brokerUid, password, executorUrl, formerFile, formerUrl }: HandedOver,
): Promise<Finding[]> {
  const own = sceneOf(asked);
  const broker = async () => {
    if (config === undefined) throw new Skipped(`${asked.brokerFile} cannot be used`);
    return config;
  };
  const scene = { ...own, broker, isRoot: true };
  const secrets: Secrets = {
    password: password === undefined ? secretsIn(scene).password : async () => toldOf(password),
    executorUrl: async () => new URL(toldOf(executorUrl)),
    formerFile: async () => toldOf(formerFile),
    formerUrl: async () => (toldOf(formerUrl) === '' ? undefined : new URL(toldOf(formerUrl))),
  };
  return await examineAsBroker(scene, secrets, brokerUid);
}

const seenBy = { name: z.string(), seen: z.string() };
const findings = z.array(
  z.discriminatedUnion('result', [
    z.strictObject({ ...seenBy, result: z.enum(['ok', 'skipped']) }),
    z.strictObject({ ...seenBy, result: z.enum(['warn', 'fail']), fix: z.string() }),
  ]),
);

/** The findings of the process without root, which is not trusted to send more than text. */
export async function findingsOf({ stdin, stdout, stderr, ended }: GoingOn): Promise<Finding[]> {
  stdin.end();
  const said = Promise.all([textOf(stdout), textOf(stderr)]);
  said.catch(() => {}); // where it cannot be started, which is said next
  const code = await ended;
  const [found, problem] = await said;
  if (code !== 0)
    throw new CommandError(EXIT.unavailable, `The checks of RabbitMQ and the helper have failed (exit ${code}): ${problem.trim()}`);
  return findings.parse(JSON.parse(found));
}
