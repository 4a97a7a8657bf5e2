// The most memory that the broker takes while large bodies pass through it, which are compared whole.

import { Kpx } from '../fixtures/kpx.js';
import { noise, paddedJob, peakMib, publishLarge, takeLarge } from '../fixtures/large-jobs.js';
import type { RabbitmqServer } from '../fixtures/rabbitmq.js';
import { SINK, TO_SINK, vhostWithSink } from './sink.js';

const MIB = 1_024 * 1_024;
const MB = 1_000_000;

export interface LargeFigures {
  readonly bodies: number;
  readonly bytes: number;
  readonly peakMib: number;
  readonly whole: boolean;
}

const LOADS = [
  { count: 256, bytes: MIB, queue: SINK, bodyOf: paddedJob('alice', MIB) },
  { count: 14, bytes: 100 * MB, queue: 'kpx.dead-letter', bodyOf: noise(100 * MB) },
  { count: 256, bytes: 16 * MIB, queue: 'kpx.dead-letter', bodyOf: noise(16 * MIB) },
];

/** All bodies are there when the broker starts. */
export async function largeBodies(rabbitmq: RabbitmqServer): Promise<LargeFigures[]> {
  const figures: LargeFigures[] = [];
  for (const { count, bytes, queue, bodyOf } of LOADS) {
    const vhost = await vhostWithSink(rabbitmq);
    const broker = { amqp: TO_SINK, executors: { ready: 'delay', ready_delay: '1ms', watch: false } };
    const kpx = new Kpx(vhost, { helper: { executor: { command: ['/usr/bin/sleep', 'infinity'] } }, broker });
    try {
      const sent = await publishLarge(kpx, count, bodyOf);
      await kpx.start();
      const arrived = await takeLarge(kpx, queue, count);
      figures.push({ bodies: count, bytes, peakMib: peakMib(kpx), whole: arrived.join() === sent.join() });
    } finally {
      await kpx.stop();
      await vhost.delete();
      kpx.removeDirectories();
    }
  }
  return figures;
}
