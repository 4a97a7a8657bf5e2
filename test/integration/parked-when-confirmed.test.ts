import { expect, it, onTestFinished } from 'vitest';
import { jobOf } from '../fixtures/jobs.js';
import { Kpx } from '../fixtures/kpx.js';
import { publish } from './installed-kpx.js';
import { sharedRabbitmq } from './shared-rabbitmq.js';

it('a job is said to be parked when it is with the dead letters, also while the queues that the broker has just made settle', async () => {
  const vhost = await sharedRabbitmq().createKnimeVhost();
  onTestFinished(() => vhost.delete());
  const kpx = new Kpx(vhost);
  onTestFinished(() => kpx.stop());
  await kpx.start();
  await publish(kpx, jobOf('../alice', 'j1'));
  expect(await kpx.brokerLog.line({ msg: 'job parked' })).toMatchObject({ job: 'j1', reason: 'USER_NAME_INVALID' });
  expect(await vhost.queueDepth('kpx.dead-letter')).toMatchObject({ messages: 1 });
});
