import { constants } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import type { Config } from './config.js';

/** The content of the files of `[amqp.tls]`, in PEM. */
export interface TlsFiles {
  readonly ca: string;
  readonly cert?: string;
  readonly key?: string;
}

/** Of a file's mode: whatever others than its owner may do. A user in an ACL shows as the group's. */
const OTHERS = 0o077;
const PERMISSIONS = 0o777;

/** Read for each connection: new files need no restart. Throws an Error that names key and file, and never what is in it. */
export async function readTlsFiles({ ca_file, cert_file, key_file }: Config['amqp']['tls']): Promise<TlsFiles> {
  const ca = { ca: ca_file === '' ? await systemCas() : await readFile(ca_file, 'utf8').catch(unreadable('ca_file', ca_file)) };
  if (cert_file === '') return ca;
  const cert = await readFile(cert_file, 'utf8').catch(unreadable('cert_file', cert_file));
  const key = await readKey(key_file);
  try {
    createSecureContext({ cert, key });
  } catch (error) {
    const what = `amqp.tls.cert_file ${cert_file} and key_file ${key_file} are no certificate with its private key in PEM, without a passphrase`;
    throw new Error(`${what}: ${(error as Error).message}`, { cause: error });
  }
  return { ...ca, cert, key };
}

/**
 * Where a system keeps the CAs that it trusts, in PEM: Debian's update-ca-certificates, Fedora's update-ca-trust. Node's own list is the system's in
 * Debian's builds alone; NodeSource's and npm's have one built in, which knows nothing of what an administrator has added.
 */
const SYSTEM_CAS = ['/etc/ssl/certs/ca-certificates.crt', '/etc/pki/tls/certs/ca-bundle.crt'];

async function systemCas(): Promise<string> {
  for (const file of SYSTEM_CAS) {
    const cas = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw new Error(`amqp.tls.ca_file is "", and ${file}, the CAs of the system, cannot be read: ${error.code}`, { cause: error });
    });
    if (cas !== undefined) return cas;
  }
  throw new Error(
    `amqp.tls.ca_file is "", and there are no CAs of the system (${SYSTEM_CAS.join(', ')}): install the package ca-certificates, or name a file`,
  );
}

/** systemd makes a credential readable by the service alone, by way of an ACL where it can. */
const isCredential = (file: string) =>
  process.env.CREDENTIALS_DIRECTORY !== undefined && file.startsWith(`${process.env.CREDENTIALS_DIRECTORY}/`);

/** Judged and read as one open file. */
async function readKey(file: string): Promise<string> {
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK).catch(unreadable('key_file', file));
  try {
    const { mode } = await handle.stat();
    if ((mode & OTHERS) !== 0 && !isCredential(file)) {
      const seen = (mode & PERMISSIONS).toString(8).padStart(4, '0');
      throw new Error(`amqp.tls.key_file ${file} is not kpx-broker's alone (mode ${seen}), and so not used: chmod 0400 ${file}`);
    }
    return await handle.readFile('utf8').catch(unreadable('key_file', file));
  } finally {
    await handle.close();
  }
}

const unreadable = (key: string, file: string) => (error: NodeJS.ErrnoException) => {
  throw new Error(`amqp.tls.${key} ${file} cannot be read: ${error.code}`, { cause: error });
};

/** Node's codes for a chain that ends in no CA that is trusted. */
const NOT_TRUSTED = new Set([
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
]);

/** Why a server's certificate is not accepted; undefined: that is not the problem. `trusted` says where its CA belongs, `urls` is the key with its address. */
export function problemOfCertificate(
  { code = '', message }: NodeJS.ErrnoException,
  { hostname, trusted, urls }: { readonly hostname: string; readonly trusted: string; readonly urls: string },
): string | undefined {
  if (NOT_TRUSTED.has(code)) return `the server's certificate is of a CA that is not trusted here: ${trusted} (${message})`;
  if (code === 'CERT_HAS_EXPIRED') return `the server's certificate has expired: RabbitMQ needs a new one (${message})`;
  if (code !== 'ERR_TLS_CERT_ALTNAME_INVALID') return undefined;
  return `the server's certificate is for other names than "${hostname}": use one of them in ${urls} (${message})`;
}
