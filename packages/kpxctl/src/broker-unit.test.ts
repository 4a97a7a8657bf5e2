import { expect, it } from 'vitest';
import { unitText } from './broker-unit.js';

it.each([
  ['LoadState=loaded\nActiveState=activating\nNRestarts=3\nExecMainStatus=1\n', 'activating, restart 3, last exit 1'],
  ['LoadState=loaded\nActiveState=failed\nNRestarts=0\nExecMainStatus=78\n', 'failed, last exit 78'],
  ['LoadState=loaded\nActiveState=inactive\nNRestarts=0\nExecMainStatus=0\n', 'inactive'],
])('says how the unit of a broker that does not answer is: %j', (properties, facts) => {
  expect(unitText(properties)).toBe(`the broker does not run (systemd: ${facts}): journalctl -u kpx-broker.service has the reason`);
});

it.each([
  'LoadState=not-found\nActiveState=inactive\nNRestarts=0\nExecMainStatus=0\n',
  'LoadState=loaded\nActiveState=active\nNRestarts=0\nExecMainStatus=0\n',
  '',
])('says nothing where there is no such unit, or it runs: %j', (properties) => {
  expect(unitText(properties)).toBeUndefined();
});
