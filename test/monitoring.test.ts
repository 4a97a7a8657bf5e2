import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const ROOT = new URL('..', import.meta.url).pathname;
const RULES = 'systemd/prometheus/kpx.rules.yml';
const RULE_TESTS = 'test/fixtures/prometheus/kpx.rules.test.yml';
const read = (path: string) => readFileSync(`${ROOT}${path}`, 'utf8');

/** Runs promtool of scripts/prepare.mjs; throws with what it says when it finds something. */
function promtool(...args: string[]): string {
  const program = `${ROOT}dist/tools/promtool`;
  if (!existsSync(program)) throw new Error(`${program} is missing: \`npm test\` prepares it`);
  return execFileSync(program, args, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

const alerts = [...read(RULES).matchAll(/^ *- alert: (\w+)$/gm)].map(([, name = '']) => name);

describe('the alert rules', () => {
  it('are rules that Prometheus takes', () => {
    expect(promtool('check', 'rules', RULES)).toContain(`SUCCESS: ${alerts.length} rules found`);
  });

  it('fire, each of them, when they should and not before', () => {
    promtool('test', 'rules', RULE_TESTS);
    const fired = [...read(RULE_TESTS).matchAll(/alertname: (\w+)\n +exp_alerts:\n/g)].map(([, name]) => name);
    expect(fired).toEqual(alerts);
    expect(alerts.length).toBeGreaterThanOrEqual(8);
  });

  it('are explained, each of them', () => {
    for (const alert of alerts) expect(read('docs/monitor.md')).toContain(`\`${alert}\``);
  });
});

it('says of each panel of the dashboard what it shows', () => {
  const { panels } = JSON.parse(read('systemd/grafana/kpx.json')) as { panels: { title: string; description?: string }[] };
  expect(panels.length).toBeGreaterThan(10);
  for (const { title, description = '' } of panels) expect([title, description.length > 20]).toEqual([title, true]);
});
