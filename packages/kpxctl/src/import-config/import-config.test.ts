import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import { parse } from 'smol-toml';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { kpxctl } from '../program.js';

const PASSWORD = 'p@ss/w:rd %41 "ü"';
const ORIGINAL = {
  log_file: '/var/log/knime-executors.log',
  log_level: 'WARNING',
  log_rotation_when: 'midnight',
  log_rotation_interval: 1,
  log_rotation_keep: 7,
  ca_cert_file: '/etc/ssl/certs/company.pem',
  rabbitmq_host_name: ['rabbit1.example.org', '192.0.2.7', '2001:db8::7'],
  rabbitmq_virtual_host: '/knime',
  rabbitmq_client_user: 'knime executor',
  rabbitmq_client_password: PASSWORD,
  rabbitmq_protocol: 'amqps',
  rabbitmq_queue_name: 'jobs',
  rabbitmq_exchange: '',
  rabbitmq_routing_key: 'work',
  knime_home: '/srv/knime_4.11',
  knime_workspace_parent_folder: '/srv/knime workspaces',
  max_attempts_executor_start: 10,
  seconds_sleep_executor_start: 2.5,
  seconds_sleep_executor_existing: 0.5,
  local_knime_user_os_user_mapping: { 'carol.smith': 'csmith', 'corp\\anna': 'anna' },
};
const LEAST = {
  rabbitmq_host_name: 'rabbit',
  rabbitmq_virtual_host: 'knime',
  rabbitmq_client_user: 'knime',
  rabbitmq_client_password: 'secret',
  knime_home: '/opt/knime',
};

let work = '';
let said = '';

beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'kpx-import-test-'));
  said = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    said += String(text);
    return true;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(work, { recursive: true });
});

const place = () => join(work, 'kpx');
const made = (path: string) => readFileSync(join(place(), path), 'utf8');

/** `kpxctl import-config`, of a file with this content. */
async function importConfig(original: unknown, ...args: string[]): Promise<string> {
  const file = join(work, 'original.json');
  writeFileSync(file, typeof original === 'string' || Buffer.isBuffer(original) ? original : JSON.stringify(original));
  await kpxctl().parseAsync(['import-config', file, '--output-dir', place(), ...args], { from: 'user' });
  return said;
}

async function refused(original: unknown, ...args: string[]): Promise<CommandError> {
  const error = await importConfig(original, ...args).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(CommandError);
  return error as CommandError;
}

describe('a good original', () => {
  it('becomes configurations with the same RabbitMQ, attempts, level and names', async () => {
    await importConfig(ORIGINAL);
    expect(parse(made('broker.toml'))).toEqual({
      amqp: {
        urls: [
          'amqps://knime%20executor@rabbit1.example.org:5671/%2Fknime',
          'amqps://knime%20executor@192.0.2.7:5671/%2Fknime',
          'amqps://knime%20executor@[2001:db8::7]:5671/%2Fknime',
        ],
        queue: 'jobs',
        exchange: '',
        routing_key: 'work',
        tls: { ca_file: '/etc/ssl/certs/company.pem' },
      },
      policy: { start_attempts: 10, backoff_initial: '2500ms' },
      log: { level: 'warn' },
    });
    expect(parse(made('privhelper.toml'))).toEqual({ accounts: { map: { 'carol.smith': 'csmith', 'corp\\anna': 'anna' } } });
  });

  it('has its password in the two secrets, and nowhere else', async () => {
    const report = await importConfig(ORIGINAL, '--json');
    expect(made('amqp-password')).toBe(`${PASSWORD}\n`);
    const encoded = encodeURIComponent(PASSWORD);
    expect(made('executor-msgq')).toBe(
      `amqps://knime%20executor:${encoded}@rabbit1.example.org:5671/%2Fknime,amqps://192.0.2.7:5671,amqps://[2001:db8::7]:5671\n`,
    );
    const others = ['broker.toml', 'privhelper.toml', 'import-report.txt', 'kpx-executor@.service.d/10-all.conf'].map(made);
    for (const text of [report, ...others]) expect(text).not.toMatch(/p@ss|p%40ss/);
  });

  it('is written for its owner alone, whatever the umask', async () => {
    const umask = process.umask(0);
    await importConfig(ORIGINAL);
    process.umask(umask);
    const modes = readdirSync(place()).map((name) => [name, (statSync(join(place(), name)).mode & 0o777).toString(8)]);
    expect(Object.fromEntries(modes)).toEqual({
      'amqp-password': '600',
      'broker.toml': '640',
      'executor-msgq': '600',
      'import-report.txt': '644',
      'kpx-executor@.service.d': '755',
      'privhelper.toml': '600',
    });
    expect(statSync(place()).mode & 0o777).toBe(0o700);
  });

  it('has the executor started where KNIME is', async () => {
    await importConfig(ORIGINAL);
    const lines = made('kpx-executor@.service.d/10-all.conf').split('\n');
    expect(lines.slice(1)).toEqual([
      '[Service]',
      'WorkingDirectory=/srv/knime_4.11',
      'ExecStart=',
      `ExecStart=/srv/knime_4.11/knime -nosplash -consolelog -data $\{KPX_WORKSPACE} -application com.knime.enterprise.slave.KNIME_REMOTE_APPLICATION`,
      '',
    ]);
  });

  it('is accounted for, setting by setting', async () => {
    const { mapped, dropped, todo } = JSON.parse(await importConfig(ORIGINAL, '--json'));
    const settings = [...mapped, ...dropped].map(({ setting }: { setting: string }) => setting);
    expect(settings.sort()).toEqual(Object.keys(ORIGINAL).sort());
    expect(dropped.map(({ setting }: { setting: string }) => setting).sort()).toEqual([
      ...['knime_workspace_parent_folder', 'log_file', 'log_rotation_interval', 'log_rotation_keep', 'log_rotation_when'],
      'seconds_sleep_executor_existing',
    ]);
    expect(todo.join()).toContain('/etc/ssl/certs/company.pem must be readable');
  });

  it('may say the least: what is not said has the defaults of kpx', async () => {
    await importConfig(LEAST);
    expect(parse(made('broker.toml'))).toEqual({ amqp: { urls: ['amqp://knime@rabbit:5672/knime'] }, policy: {} });
    expect(made('executor-msgq')).toBe('amqp://knime:secret@rabbit:5672/knime\n');
  });

  it.each([
    ['no wait between attempts, which kpx does not do', { seconds_sleep_executor_start: 0 }, {}],
    [
      'a wait that is longer than the longest of kpx',
      { seconds_sleep_executor_start: 600 },
      { backoff_initial: '600000ms', backoff_max: '600000ms' },
    ],
  ])('may have %s', async (_, wait, policy) => {
    await importConfig({ ...LEAST, ...wait });
    expect(parse(made('broker.toml')).policy).toEqual(policy);
  });
});

const names = (count: number, account: (index: number) => string) =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`name${index}`, account(index)]));

describe('an original with something wrong', () => {
  it.each<[what: string, original: unknown, problems: string[]]>([
    ['nothing in it', '', ['the file is not JSON']],
    ['a password before a syntax error', '{"rabbitmq_client_password": hunter2}', ['the file is not JSON']],
    ['a comma too many', '{"a": 1,\n "b": 2,,}', ['the file is not JSON']],
    ['bytes that are no text', Buffer.from([0x7b, 0xff, 0x7d]), ['the file is not UTF-8']],
    ['a list', [], ['the file: Invalid input: expected object, received array']],
    ['brackets without end', '['.repeat(500_000), ['the file is not JSON']],
    ['more than a MiB', ' '.repeat(1024 * 1024 + 1), ['the file has more than 1048576 bytes']],
    [
      'nothing said',
      {},
      ['host_name', 'virtual_host', 'client_user', 'client_password']
        .map((name) => `rabbitmq_${name}: is missing`)
        .concat('knime_home: is missing'),
    ],
    ['a setting that there is not', { ...LEAST, rabbitmq_hostname: 'x' }, ['rabbitmq_hostname: no setting of the original; take it out']],
    ['a setting for the prototype', `{"__proto__": {"knime_home": "/x"}, ${JSON.stringify(LEAST).slice(1)}`, ['__proto__: no setting']],
    ['a number for a host', { ...LEAST, rabbitmq_host_name: 5 }, ['rabbitmq_host_name: expected the name of a host, or a list of them']],
    ['no host', { ...LEAST, rabbitmq_host_name: [] }, ['rabbitmq_host_name: expected a host']],
    [
      'a host with a user',
      { ...LEAST, rabbitmq_host_name: 'u:hunter2@h' },
      ['host_name.0: expected the name of a host alone, without a user'],
    ],
    [
      'a host with a port',
      { ...LEAST, rabbitmq_host_name: ['a', 'h:5672'] },
      ['rabbitmq_host_name.1: expected the name of a host without a port'],
    ],
    ['a URL', { ...LEAST, rabbitmq_host_name: 'amqp://h' }, ['rabbitmq_host_name.0: expected the name of a host, not a URL']],
    ['a list in a host', { ...LEAST, rabbitmq_host_name: 'a,b' }, ['rabbitmq_host_name.0: expected the name or address of a host']],
    ['a port in a text', { ...LEAST, rabbitmq_port: '5672' }, ['rabbitmq_port: expected a port']],
    ['a port beyond', { ...LEAST, rabbitmq_port: 65_536 }, ['rabbitmq_port: expected 1 to 65535']],
    ['another protocol', { ...LEAST, rabbitmq_protocol: 'http' }, ['rabbitmq_protocol: expected "amqp" or "amqps"']],
    ['a line end in the password', { ...LEAST, rabbitmq_client_password: 'hunter2\nx' }, ['rabbitmq_client_password: expected one line']],
    [
      'half a character in the password',
      { ...LEAST, rabbitmq_client_password: 'hunter2\ud800' },
      ['rabbitmq_client_password: expected one line'],
    ],
    ['no password', { ...LEAST, rabbitmq_client_password: '' }, ['rabbitmq_client_password: expected text, not nothing']],
    ['a queue of two lines', { ...LEAST, rabbitmq_queue_name: 'a"\n[x]' }, ['rabbitmq_queue_name: expected one line']],
    ['a relative installation', { ...LEAST, knime_home: 'opt/knime' }, ['knime_home: expected an absolute path']],
    ['a way up', { ...LEAST, knime_home: '/opt/../root' }, ['knime_home: expected an absolute path']],
    [
      'a command in a path',
      { ...LEAST, knime_home: '/opt/knime\nExecStartPre=+/bin/id' },
      ['knime_home: expected one line', 'knime_home: expected a path of letters'],
    ],
    ['a specifier of systemd', { ...LEAST, knime_home: '/opt/%i' }, ['knime_home: expected a path of letters']],
    ['a variable of systemd', { ...LEAST, knime_home: '/opt/$HOME' }, ['knime_home: expected a path of letters']],
    ['an argument in a path', { ...LEAST, knime_home: '/opt/knime -x' }, ['knime_home: expected a path of letters']],
    ['a relative certificate', { ...LEAST, ca_cert_file: './ca.pem' }, ['ca_cert_file: expected an absolute path']],
    ['a relative parent', { ...LEAST, knime_workspace_parent_folder: '~/x' }, ['knime_workspace_parent_folder: expected an absolute path']],
    ['an unknown level', { ...LEAST, log_level: 'LOUD' }, ['log_level: expected DEBUG, INFO, WARNING, ERROR or CRITICAL']],
    ['half an attempt', { ...LEAST, max_attempts_executor_start: 1.5 }, ['max_attempts_executor_start: expected a whole number']],
    ['no attempt', { ...LEAST, max_attempts_executor_start: 0 }, ['max_attempts_executor_start: expected 1 or more']],
    ['a wait backwards', { ...LEAST, seconds_sleep_executor_start: -1 }, ['seconds_sleep_executor_start: expected 0 or more seconds']],
    [
      'a wait without end',
      `{"seconds_sleep_executor_start": 1e999, ${JSON.stringify(LEAST).slice(1)}`,
      ['seconds_sleep_executor_start: expected'],
    ],
    [
      'a list of names',
      { ...LEAST, local_knime_user_os_user_mapping: [] },
      ['local_knime_user_os_user_mapping: expected an object of names'],
    ],
    ['a name for root', { ...LEAST, local_knime_user_os_user_mapping: { admin: 'root' } }, ['user_mapping.admin: maps to root']],
    ['a name for a uid', { ...LEAST, local_knime_user_os_user_mapping: { admin: '0' } }, ['user_mapping.admin: the account: expected']],
    ['a name for a number', { ...LEAST, local_knime_user_os_user_mapping: { admin: 0 } }, ['user_mapping.admin: the account:']],
    ['a name that is a path', { ...LEAST, local_knime_user_os_user_mapping: { '../x': 'x' } }, ['../x: the KNIME name: expected']],
    ['a name that is TOML', { ...LEAST, local_knime_user_os_user_mapping: { 'a"\n[b]': 'x' } }, ['\\u000a[b]: the KNIME name: expected']],
    [
      'a name that objects have',
      `{"local_knime_user_os_user_mapping": {"__proto__": "x"}, ${JSON.stringify(LEAST).slice(1)}`,
      ['__proto__: the KNIME'],
    ],
    ['a name twice', { ...LEAST, local_knime_user_os_user_mapping: { Ann: 'a', ann: 'b' } }, ['user_mapping.ann = "b": stands here twice']],
    ['too many names of one', { ...LEAST, local_knime_user_os_user_mapping: names(32, () => 'x') }, ['name31 = "x": more than 31 names']],
    ['too many names', { ...LEAST, local_knime_user_os_user_mapping: names(10_001, (i) => `x${i}`) }, ['expected at most 10000 names']],
    [
      'too long an address',
      { ...LEAST, rabbitmq_host_name: Array(16).fill(`${'h'.repeat(60)}.`.repeat(4)), rabbitmq_client_password: '%'.repeat(1000) },
      ['4096 bytes'],
    ],
  ])('%s: each problem is reported and nothing is written', async (_, original, problems) => {
    const { exitCode, message } = await refused(original);
    expect(exitCode).toBe(EXIT.dataError);
    const lines = message.split('\n');
    expect(lines.slice(0, -1)).toEqual(problems.map((problem) => expect.stringContaining(problem)));
    expect(lines.at(-1)).toBe('Nothing was written.');
    expect(message + said).not.toContain('hunter2');
    expect(readdirSync(work)).toEqual(['original.json']);
  });

  it('with thousands of problems has the first ones reported', async () => {
    const { message } = await refused({ ...LEAST, local_knime_user_os_user_mapping: names(1_000, () => 'root') });
    expect(message.split('\n')).toHaveLength(52);
    expect(message).toContain('… and 950 more problems');
  });

  it.each([
    ['there is not', () => join(work, 'none'), EXIT.noInput],
    ['is a directory', () => work, EXIT.noInput],
    ['has no end', () => '/dev/zero', EXIT.noInput],
  ])('that %s is not read', async (_, file, exitCode) => {
    const args = ['import-config', file(), '--output-dir', place()];
    await expect(kpxctl().parseAsync(args, { from: 'user' })).rejects.toMatchObject({ exitCode });
  });
});

describe('the directory of an import', () => {
  it('is replaced when told to, and only then', async () => {
    await importConfig(LEAST);
    expect(await refused(ORIGINAL)).toMatchObject({ exitCode: EXIT.cannotCreate, message: expect.stringContaining('is there already') });
    expect(made('executor-msgq')).toContain('secret');
    await importConfig(ORIGINAL, '--force');
    expect(made('executor-msgq')).not.toContain('secret');
    expect(readdirSync(work).sort()).toEqual(['kpx', 'original.json']);
  });

  it.each([
    ['has something else in it', () => (mkdirSync(place()) as undefined) ?? writeFileSync(join(place(), 'precious'), '')],
    [
      'is like /etc/kpx, which no import has made',
      () => (mkdirSync(place()) as undefined) ?? writeFileSync(join(place(), 'broker.toml'), ''),
    ],
    ['is a link', () => symlinkSync('elsewhere', place())],
    ['is a file', () => writeFileSync(place(), '')],
  ])('that %s is not replaced', async (_, prepare) => {
    prepare();
    const before = readdirSync(work, { recursive: true }).sort();
    expect(await refused(LEAST, '--force')).toMatchObject({ exitCode: EXIT.cannotCreate });
    expect(readdirSync(work, { recursive: true }).sort()).toEqual([...before, 'original.json'].sort());
  });

  it('is not made where its parent is missing, and the refusal says why', async () => {
    const error = await refused(LEAST, '--output-dir', join(work, 'none/kpx'));
    expect(error).toMatchObject({ exitCode: EXIT.cannotCreate, message: expect.stringContaining('ENOENT') });
  });
});
