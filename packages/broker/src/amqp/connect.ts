import { connect as connectByTcp } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectByTls } from 'node:tls';
import { type Channel, type ChannelModel, connect as connectByAmqplib, credentials } from 'amqplib';
import { type Config, readPassword } from '../config/config.js';
import { problemOfCertificate, readTlsFiles, type TlsFiles } from '../config/tls-files.js';
import { answerInTime } from './deadline.js';
import { type Login, sentenceOfRefusal } from './refusal.js';

/** How long RabbitMQ may be silent while a connection is opened, in milliseconds; and how long opening it may take in all. */
const CONNECT_TIMEOUT_MS = 10_000;
const OPEN_TIMEOUT_MS = 20_000;
/** Heartbeat asked of the server, in seconds: a silent peer is noticed after two or three of them, 30 to 45 s; sooner if the server asks for less. */
const HEARTBEAT_S = 15;
/** How long an orderly close may take before the connection is ended without order, in milliseconds. */
const CLOSE_TIMEOUT_MS = 2_000;
/** Frame size asked of the server, in bytes, which is lowered to its own (128 KiB by default). Properties travel in one frame. */
const FRAME_BYTES_MAX = 1024 * 1024;
/** Largest frame that is read, in bytes: RabbitMQ splits bodies to the size that was agreed on, but not the properties that it has taken. */
const RECEIVED_FRAME_BYTES_MAX = 64 * 1024 * 1024;

/** Values that a connection needs and the configuration does not have. Each throws an Error for an operator, without what is secret. */
export interface Secrets {
  password(): Promise<string>;
  /** For `amqps://`. */
  files(): Promise<TlsFiles>;
}

/** Read for each connection, from where the configuration says. */
export const secretsOf = (config: Config['amqp']): Secrets => ({
  password: () => readPassword(config),
  files: () => readTlsFiles(config.tls),
});

/** Connects to one URL. Throws an Error without secrets that says what an operator can do; its cause has Node's code. */
export async function connect(url: string, config: Config['amqp'], host: string, secrets = secretsOf(config)): Promise<ChannelModel> {
  const { protocol, hostname, port, username, pathname } = new URL(url);
  const files = protocol === 'amqps:' ? await secrets.files() : undefined;
  const login = username === '' ? credentials.external() : credentials.plain(decodeURIComponent(username), await secrets.password());
  const target = {
    protocol: protocol.slice(0, -1),
    hostname: hostname.replace(/^\[|\]$/g, ''),
    port: port === '' ? (protocol === 'amqps:' ? 5671 : 5672) : Number(port),
    vhost: pathname.slice(1), // amqplib decodes it; empty is "/"
    heartbeat: HEARTBEAT_S,
    frameMax: FRAME_BYTES_MAX,
    maxFrameSize: RECEIVED_FRAME_BYTES_MAX,
  };
  const socket = {
    timeout: CONNECT_TIMEOUT_MS,
    noDelay: true,
    ...files,
    credentials: login,
    clientProperties: { connection_name: `kpx-broker on ${host}` },
  };
  const opening = connectByAmqplib(target, socket);
  try {
    return await answerInTime(opening, 'connection.open', OPEN_TIMEOUT_MS);
  } catch (error) {
    opening.then(
      (connection) => {
        connection.on('error', () => {}); // amqplib tells of its end, and nobody else would hear it
        destroy(connection, 'opened too late');
      },
      () => {}, // it is what is thrown below
    );
    const sentence = isRefusedWithoutWord(error) ? await askForSentence(target, files, login) : undefined;
    const why = sentence === undefined ? explain(error as Error, url, config) : `RabbitMQ refuses the connection: ${sentence}`;
    throw new Error(why, { cause: error });
  }
}

const isRefusedWithoutWord = (error: unknown) => error instanceof Error && error.message.startsWith('Expected ConnectionOpenOk');

type Target = Readonly<Record<'protocol' | 'hostname' | 'vhost', string>> & { readonly port: number };

async function askForSentence(
  { protocol, hostname: host, port, vhost }: Target,
  files: TlsFiles | undefined,
  login: Login,
): Promise<string | undefined> {
  const socket = protocol === 'amqps' ? connectByTls({ host, port, ...files }) : connectByTcp({ host, port });
  return await sentenceOfRefusal(socket, login, decodeURIComponent(vhost) || '/');
}

/**
 * Ends the connection without a word. amqplib only half-closes a socket whose peer has gone silent, or does not read because of an alarm: it
 * would stay open, and keep this process from ending, for as long as the peer likes. amqplib has no call for it.
 */
export function destroy(connection: ChannelModel, why: string): void {
  // With an error: amqplib does not look at a plain 'close', and would wait for answers and send heartbeats as before.
  (connection.connection as unknown as { readonly stream: Duplex }).stream.destroy(new Error(why));
}

/** In order if that is soon done, but in any case: it may be closed already, or the other side may be gone, and both are all that was wanted. */
export async function close(connection: ChannelModel, channel?: Channel): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, CLOSE_TIMEOUT_MS);
  });
  // The promise of amqplib's close() never settles when the socket ends before RabbitMQ has answered; this event comes.
  const closed = new Promise<void>((resolve) => connection.once('close', () => resolve()));
  const inOrder = async () => {
    // The channel first: a connection's close overtakes acknowledgements that wait to be written.
    await channel?.close().catch(() => {});
    await connection.close().catch(() => {});
  };
  await Promise.race([inOrder(), closed, timeout]);
  clearTimeout(timer);
  destroy(connection, 'closed');
}

/** The alert of the other side of TLS for a certificate that it has been shown, or was not. */
const CERTIFICATE_ALERT = /alert (number \d+|.*(certificate|unknown ca|handshake failure))/i;

function explain(error: Error, url: string, config: Config['amqp']): string {
  const { message } = error;
  const { username, hostname } = new URL(url);
  const { cert_file } = config.tls;
  if (username === '' && /ACCESS.REFUSED|SASL mechanism/.test(message)) {
    return `the login by amqp.tls.cert_file ${cert_file} was refused: RabbitMQ needs the plugin rabbitmq_auth_mechanism_ssl, EXTERNAL among auth_mechanisms, and a user of the name in the certificate (${message})`;
  }
  if (CERTIFICATE_ALERT.test(message)) {
    const what =
      cert_file === '' ? 'RabbitMQ wants a client certificate: set amqp.tls.cert_file' : `RabbitMQ refuses the certificate in ${cert_file}`;
    return `${what} (${message})`;
  }
  if (message.includes('ACCESS_REFUSED') || message.includes('ACCESS-REFUSED')) {
    const place =
      config.password_file === '' ? 'the credential amqp-password, which the service reads when it starts' : config.password_file;
    return `the login of the RabbitMQ user "${decodeURIComponent(username)}" was refused: is there this user, and is its password the one in ${place}? (${message})`;
  }
  const trusted =
    config.tls.ca_file === ''
      ? 'name its file in amqp.tls.ca_file, or add it to those of the system'
      : `amqp.tls.ca_file is ${config.tls.ca_file}`;
  return problemOfCertificate(error, { hostname, trusted, urls: 'amqp.urls' }) ?? message;
}
