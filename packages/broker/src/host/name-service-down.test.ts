import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { nameServiceIsDown, sourcesOf } from './name-service-down.js';

/** nsswitch.conf with this line, and a socket of "sss" at which somebody may listen. */
function given(line: string) {
  const directory = mkdtempSync(join(tmpdir(), 'kpx-name-service-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const [nsswitch, socket] = [join(directory, 'nsswitch.conf'), join(directory, 'nss')];
  writeFileSync(nsswitch, `hosts: files dns\n${line}\ngroup: files\n`);
  const listen = async () => {
    const server = createServer((connection) => connection.destroy());
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    onTestFinished(() => void server.close());
  };
  return { nsswitch, socket, listen, look: () => nameServiceIsDown(nsswitch, new Map([['sss', socket]])) };
}

describe('the sources of accounts', () => {
  it.each([
    ['passwd: files sss', ['files', 'sss']],
    ['passwd:\tfiles [NOTFOUND=return] sss # and more', ['files', 'sss']],
    ['', ['files']],
  ])('in %j', (text, sources) => expect(sourcesOf(text)).toEqual(sources));
});

describe('the name service is down', () => {
  it('when nobody listens for one of its sources, and not when somebody does', async () => {
    const { nsswitch, socket, listen, look } = given('passwd: files sss');
    expect(await look()).toBe(`the name service does not answer: ${nsswitch} names "sss", and nobody listens at ${socket} (ENOENT)`);
    await listen();
    expect(await look()).toBeUndefined();
  });

  it('not when accounts come from elsewhere', async () => {
    expect(await given('passwd: files systemd').look()).toBeUndefined();
    expect(await nameServiceIsDown('/no/such/file')).toBeUndefined();
  });
});
