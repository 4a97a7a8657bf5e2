import { X509Certificate } from 'node:crypto';
import { constants } from 'node:fs';
import { access, readFile, stat } from 'node:fs/promises';
import { MAC_KEY_BYTES } from '@kpx/broker/amqp/mac';
import { MAC_CREDENTIAL, MAC_KEY_FILE, MAC_KEY_FIX, readMacKey } from '@kpx/broker/amqp/mac-key';
import { readConfig as readBrokerConfig } from '@kpx/broker/config/config';
import { placeOf, userFrom } from '@kpx/broker/config/user-from';
import { readConfig as readHelperConfig } from '@kpx/privhelper/config';
import { MSGQ_BYTES_MAX } from '@kpx/privhelper/environment';
import { readTrustedFile } from '@kpx/privhelper/system/trusted-file';
import { CONFIG_BYTES_MAX, problemOfMsgq, type Sealed } from '@kpx/protocol';
import { PASSWORD_FILE } from '../broker-options.js';
import { ASK_AS_ROOT, type Check, fail, ok, Skipped, type Verdict, warn } from './check.js';
import { BROKER_ACCOUNT, BROKER_UNIT, type Scene } from './scene.js';

/** Longest password that is believed to be one, in bytes. */
const PASSWORD_BYTES_MAX = 4_096;
const OTHERS_READ = 0o004;
const GROUP_READ = 0o040;
const EVERYBODY = 0o007;
/** The credentials of the broker that runs. */
const CREDENTIALS = `/run/credentials/${BROKER_UNIT}`;
/** A certificate that expires sooner is warned of, in milliseconds: two weeks. */
const EXPIRES_SOON_MS = 14 * 24 * 3_600 * 1_000;

/** Both configurations and both secrets: are they there, valid, and nobody else's to write or read? */
export const configurationChecks = (scene: Scene): Check[] => [
  brokerFile(scene),
  submitter(scene),
  helperFile(scene),
  ...(scene.passwordFile === undefined ? [passwordFile(scene)] : []),
  macKey(scene),
  msgqFile(scene),
  clientCertificate(scene),
];

const brokerFile = ({ brokerFile: file, brokerAccount }: Scene): Check => ({
  name: 'broker.toml',
  fix: `Fix ${file}: kpx-broker --config ${file} --check has every problem; "man kpx-broker.toml" has every key.`,
  look: async () => {
    await mustBeReadable(file);
    await readBrokerConfig(file);
    const owner = `chown root:${BROKER_ACCOUNT} ${file} && chmod 0640 ${file}`;
    const { gid, mode, uid } = await stat(file);
    const broker = await brokerAccount();
    const mayRead = (mode & OTHERS_READ) !== 0 || (gid === broker.gid && (mode & GROUP_READ) !== 0) || uid === broker.uid;
    if (!mayRead) return fail(`${file} is valid, but ${BROKER_ACCOUNT} may not read it`, owner);
    try {
      await readTrustedFile(file, 'public', CONFIG_BYTES_MAX);
    } catch (error) {
      return fail((error as Error).message, `${owner}; the directories above must be root's, too.`);
    }
    return ok(`${file} is valid, and only root may write it`);
  },
});

const submitter = ({ broker }: Scene): Check => ({
  name: 'user of a job',
  fix: 'Set jobs.user_from (man kpx-broker.toml).',
  look: async () => {
    const from = userFrom((await broker()).jobs);
    const vouched = from.in === 'user_id' ? 'RabbitMQ vouches for it' : 'whoever may publish a job may write any name';
    return ok(`it is in ${placeOf(from)}: ${vouched}`);
  },
});

/** That the key is the broker's alone is seen where the broker's login is tried, as the broker. */
const clientCertificate = ({ broker, brokerAccount, isRoot }: Scene): Check => ({
  name: 'client certificate',
  fix: 'Correct amqp.tls.cert_file and key_file, as the message says (rabbitmq.md, "Client certificates").',
  look: async () => {
    const { cert_file, key_file } = (await broker()).amqp.tls;
    if (cert_file === '') return ok('none is configured');
    const certificate = new X509Certificate(await readFile(cert_file));
    const leftMs = Date.parse(certificate.validTo) - Date.now();
    const renew = `Put a new certificate into ${cert_file}: the broker reads it for its next connection.`;
    if (leftMs <= 0) return fail(`${cert_file} has expired (${certificate.validTo})`, renew);
    if (!isRoot) throw new Skipped(ASK_AS_ROOT);
    if (key_file.startsWith('/run/credentials/')) throw new Skipped(`${key_file} is there only while the broker runs`);
    const { uid } = await stat(key_file);
    const own = (await brokerAccount()).uid;
    if (uid !== own) return fail(`${key_file} is not the broker's own`, `chown ${BROKER_ACCOUNT} ${key_file} && chmod 0400 ${key_file}`);
    if (leftMs < EXPIRES_SOON_MS) return warn(`${cert_file} expires soon (${certificate.validTo})`, renew);
    return ok(`${cert_file} is valid until ${certificate.validTo}`);
  },
});

async function mustBeReadable(file: string): Promise<void> {
  await access(file, constants.R_OK).catch(({ code }: NodeJS.ErrnoException) => {
    if (code === 'EACCES') throw new Skipped(ASK_AS_ROOT);
  });
}

const helperFile = ({ helperFile: file, isRoot }: Scene): Check => ({
  name: 'privhelper.toml',
  fix: `Fix ${file}: kpx-privhelper --config ${file} --check has every problem. It must be root's and writable by nobody else (chown root:root, chmod 0600), and so must the directories above.`,
  look: async () => {
    if (!isRoot) throw new Skipped(ASK_AS_ROOT);
    await readHelperConfig(file);
    return ok(`${file} is valid, and only root may write it`);
  },
});

/** A line that is a secret of root's. */
async function secretIn(file: string, bytesMax: number, isRoot: boolean): Promise<string> {
  if (!isRoot) throw new Skipped(ASK_AS_ROOT);
  const secret = (await readTrustedFile(file, 'secret', bytesMax)).replace(/\r?\n$/, '');
  if (secret === '') throw new Error(`${file} is empty`);
  if (/[\r\n]/.test(secret)) throw new Error(`${file} has more than one line`);
  return secret;
}

/** With `amqp.password_file` it is the broker's own; whether that can be read is seen where the broker's login is tried. */
const passwordFile = ({ broker, isRoot }: Scene): Check => ({
  name: 'amqp-password',
  fix: `kpxctl setup-rabbitmq writes it (install.md, "Secrets"): RabbitMQ's password of the broker, on one line in ${PASSWORD_FILE}. A file that is there: chown root:root and chmod 0600. Then: systemctl restart kpx-broker.`,
  look: async () => {
    const { password_file, urls } = (await broker()).amqp;
    if (urls.every((url) => new URL(url).username === ''))
      return ok('amqp.urls names no user: the broker logs in by its certificate, without a password');
    if (password_file !== '') return await ownPasswordFile(password_file);
    await secretIn(PASSWORD_FILE, PASSWORD_BYTES_MAX, isRoot);
    return ok(`${PASSWORD_FILE} has one line, and only root may read it`);
  },
});

async function ownPasswordFile(file: string): Promise<Verdict> {
  const status = await stat(file).catch(() => undefined);
  if (status !== undefined && (status.mode & EVERYBODY) !== 0)
    return fail(
      `amqp.password_file ${file} can be used by everybody`,
      `chown root:${BROKER_ACCOUNT} ${file} && chmod 0640 ${file}, and a new password.`,
    );
  return ok(`amqp.password_file is ${file}`);
}

/** With `jobs.mac_key_file` it is the broker's own, which it reads when it starts. */
const macKey = ({ broker, isRoot }: Scene): Check => ({
  name: 'job-mac-key',
  fix: `By this key brokers know which headers of a job a broker has written (rabbitmq.md, "Headers of kpx"); ${MAC_KEY_FIX}. A file that is there: chown root:root and chmod 0600. Then: systemctl restart kpx-broker.`,
  look: async () => {
    const { mac_key_file: own } = (await broker()).jobs;
    if (!isRoot) throw new Skipped(ASK_AS_ROOT);
    if (own !== '') await readMacKey(own);
    if (own !== '' && ((await stat(own)).mode & EVERYBODY) !== 0)
      return fail(
        `jobs.mac_key_file ${own} can be used by everybody`,
        `chown root:${BROKER_ACCOUNT} ${own} && chmod 0640 ${own}, and a new key.`,
      );
    if (own !== '') return ok(`jobs.mac_key_file is ${own}`);
    await readTrustedFile(MAC_KEY_FILE, 'secret', 2 * MAC_KEY_BYTES + 1);
    const key = await readMacKey(MAC_KEY_FILE);
    const handedOver = await readFile(`${CREDENTIALS}/${MAC_CREDENTIAL}`).catch(() => undefined);
    if (handedOver === undefined ? await isThere(CREDENTIALS) : !handedOver.equals(key)) {
      const unit = `LoadCredential=${MAC_CREDENTIAL}:${MAC_KEY_FILE}`;
      return fail(`the broker that runs has not got the key in ${MAC_KEY_FILE}`, `systemctl restart kpx-broker; its unit needs ${unit}`);
    }
    return ok(`${MAC_KEY_FILE} has a key, and only root may read it`);
  },
});

const isThere = (file: string) =>
  access(file).then(
    () => true,
    () => false,
  );

const msgqFile = ({ helper, broker, isRoot }: Scene): Check => ({
  name: 'executor-msgq',
  fix: 'kpxctl setup-rabbitmq writes it (install.md, "Secrets"): the value of KNIME_EXECUTOR_MSGQ, amqp://USER:PASSWORD@HOST/VHOST on one line in executor.msgq_file, /etc/kpx/executor-msgq when it is not set. A file that is there: chown root:root and chmod 0600.',
  look: async () => {
    const { msgq_file: file, sealed } = (await helper()).executor;
    if (sealed) return await msgqTemplate(file, isRoot, sealed);
    const { username, password, pathname } = firstUrl(file, await secretIn(file, MSGQ_BYTES_MAX, isRoot));
    if (username === '' || password === '') throw new Error(`${file}: the first URL has no user or no password`);
    const { urls } = (await broker()).amqp;
    const ofBroker = urls.map((url) => new URL(url));
    if (ofBroker.some((url) => url.username === username)) {
      const seen = `${file} has an address with the broker's own user "${decodeURIComponent(username)}"`;
      return warn(
        seen,
        'Give executors a user of their own, with fewer permissions: every KNIME user can read this password (install.md, "Secrets").',
      );
    }
    if (ofBroker.every((url) => url.pathname !== pathname))
      return warn(
        `${file} has another virtual host than amqp.urls of the broker`,
        'Executors and broker have to use the same queue: name the same virtual host in both.',
      );
    return ok(`${file} has an address with the user "${decodeURIComponent(username)}", and only root may read it`);
  },
});

async function msgqTemplate(file: string, isRoot: boolean, sealed: Sealed): Promise<Verdict> {
  const problem = problemOfMsgq((await secretIn(file, MSGQ_BYTES_MAX, isRoot)).trim(), true);
  if (problem !== undefined) return fail(`${file}: ${problem}`, `Write it into ${file}.`);
  if (typeof sealed === 'boolean') return ok(`${file} is a template: each account has a RabbitMQ user of its own`);
  return warn(
    `only the accounts of executor.sealed (${sealed.length}) have a RabbitMQ user of their own: the code of all others can take and forge the jobs of each`,
    'Go on with the move until executor.sealed is true (move.md, "From shared to sealed executors").',
  );
}

/** Of several, the first one has the credentials. Throws an Error that does not quote it. */
export function firstUrl(file: string, msgq: string): URL {
  const [first = ''] = msgq.split(',');
  if (!/^amqps?:\/\/[\x21-\x7e]+$/.test(msgq) || !URL.canParse(first)) {
    throw new Error(
      `${file} does not hold one line that starts with amqp:// or amqps:// and is a URL: characters such as @ : / % ? of the password have to be percent-encoded`,
    );
  }
  return new URL(first);
}
