import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { WAITS_FOR } from '../packages/broker/src/executors/line.js';
import { ANY_STATES, type AnyState, EXECUTOR_STATES, shownState, USER_STATES } from '../packages/broker/src/executors/states.js';

const ROOT = new URL('..', import.meta.url).pathname;
const read = (path: string) => readFileSync(`${ROOT}${path}`, 'utf8');
const TABLE = 'packages/broker/src/executors/states.ts';

const ONE = `(?:${ANY_STATES.join('|')})`;
/** Three states or more: in a list or a set, as the keys of an object, as a union of types, as elements of a page. */
const LISTS = [
  [/\[[^\][]*\]/g, new RegExp(`'(${ONE})'`, 'g')],
  [new RegExp(`'${ONE}'(?:\\s*\\|\\s*'${ONE}'){2,}`, 'g'), new RegExp(`'(${ONE})'`, 'g')],
  [/\{[^{}]*\}/g, new RegExp(`[{,\\n]\\s*'?(${ONE})'?\\??:`, 'g')],
  [/<(tbody|ul|dl|select)[\s\S]*?<\/\1>/g, new RegExp(`>(${ONE})<`, 'g')],
] as const;
const LISTED_MIN = 3;

function listedByHand(text: string): string[] {
  return LISTS.flatMap(([group, state]) =>
    [...text.matchAll(group)]
      .filter(([found]) => new Set([...found.matchAll(state)].map(([, name]) => name)).size >= LISTED_MIN)
      .map(([found]) => found),
  );
}

describe('the states of users and executors', () => {
  it.each([
    ["const FAILED = new Set(['backoff', 'broken', 'refused']);"],
    ["type State = 'idle' | 'queued' | 'ready';"],
    ["const LEVELS = { idle: 'info', queued: 'debug',\n  ready: 'info' };"],
    ['<tbody><tr><th>ready</th></tr><tr><th>lost</th></tr><tr><th>booting</th></tr></tbody>'],
  ])('would be found where they are listed by hand: %s', (text) => expect(listedByHand(text)).toHaveLength(1));

  it('are listed in one table only, from which everything else derives its list', () => {
    const tracked = execFileSync('git', ['-c', 'safe.directory=*', 'ls-files', '--cached', '--others', '--exclude-standard', 'packages'], {
      cwd: ROOT,
      encoding: 'utf8',
    });
    const product = tracked.split('\n').filter((file) => /\/src\/.*\.(ts|js|html)$/.test(file) && !/\.test\.ts$|\/generated\//.test(file));
    expect(product).toContain(TABLE);
    const found = product.filter((file) => file !== TABLE).flatMap((file) => listedByHand(read(file)).map((list) => `${file}: ${list}`));
    expect(found, `states listed by hand: derive the list from ${TABLE} instead`).toEqual([]);
  });

  it('are shown to people in words, and by its name where a broker of another version has one that is not in the table', () => {
    expect(['idle', 'backoff', 'broken', 'refused', 'ready', 'later'].map((state) => shownState(state as AnyState))).toEqual([
      ...['no executor', 'retrying', 'given up', 'not allowed', 'ready', 'later'],
    ]);
  });

  it('are in the documents as they are in the table', () => {
    const monitor = read('docs/monitor.md');
    expect(monitor).toContain(`| \`kpx_executors\`, \`kpx_executors_max\` | \`state\`: ${EXECUTOR_STATES.join(', ')} |`);
    expect(monitor).toContain(`| \`kpx_users\` | \`state\`: ${USER_STATES.join(', ')} |`);
    const [, meanings = ''] = /^- `STATE` is ([\s\S]*?)\n- /m.exec(read('docs/operate.md')) ?? [];
    const named = [...meanings.matchAll(/`(\w+)`/g)].map(([, name = '']) => name);
    expect(ANY_STATES.filter((state) => !named.includes(state))).toEqual([]);
    const [, manual = ''] = /^Those in this state alone:\n([\s\S]*?)\.\n/m.exec(read('systemd/man/kpxctl.8')) ?? [];
    expect(manual.match(/\b(?!Cm|or)[a-z]+/g)).toEqual(ANY_STATES);
  });

  it('are apart from the limits that users wait for, all of which the document has', () => {
    const [, limits] = /`kpx_longest_wait_seconds` \| `limit`: ([\w, ]+) \|/.exec(read('docs/monitor.md')) ?? [];
    expect(limits).toBe(WAITS_FOR.join(', '));
  });

  it('have a colour each on the page, where executors can be in them, and are none that an alert or a panel has made up', () => {
    const style = read('packages/broker/src/page/kpx.css');
    expect(EXECUTOR_STATES.filter((state) => !(style.includes(`path.${state}`) && style.includes(`i.${state}`)))).toEqual([]);
    const asked = ['systemd/prometheus/kpx.rules.yml', 'systemd/grafana/kpx.json'].flatMap((file) => [
      ...read(file).matchAll(/state=~?\\?"([^"\\]+)/g),
    ]);
    const names = asked.flatMap(([, states = '']) => states.split('|'));
    expect(names).toContain('broken');
    expect(names.filter((name) => !ANY_STATES.some((state) => state === name))).toEqual([]);
  });
});
