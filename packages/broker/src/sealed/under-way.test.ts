import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { ConfirmedPublisher, type Publisher } from '../amqp/publisher.js';
import { UnderWay } from './under-way.js';

const TO = { exchange: '', routingKey: 'jobs' };
const NOTHING = Buffer.alloc(0);
const compose = () => NOTHING;

/** RabbitMQ, as far as it answers here: each publish, in order, by a function of the test. */
function channel() {
  const answers: ((error: unknown) => void)[] = [];
  const publisher: Publisher = {
    propertiesBytesMax: 1_000,
    publish: (_to, _properties, _content, confirmed) => answers.push(confirmed),
    onReturn: () => {},
  };
  return { answers, underWay: new UnderWay<object>(new ConfirmedPublisher(publisher)) };
}

describe('messages under way', () => {
  it('are those that RabbitMQ has not answered', async () => {
    const { answers, underWay } = channel();
    const [one, two] = [{ job: 1 }, { job: 2 }];
    const first = underWay.publish(one, TO, compose, NOTHING);
    underWay.publish(two, TO, compose, NOTHING).catch(() => {});
    answers[0]?.(undefined);
    expect(await first).toBeUndefined();
    expect(underWay.all).toEqual([two]);
    expect(underWay.oldest()).toBe(2);
  });

  it('end with the reason of a loss, and are known afterwards', async () => {
    const { underWay } = channel();
    const job = { job: 1 };
    const publishing = underWay.publish(job, TO, compose, NOTHING);
    underWay.lost('the connection was closed');
    underWay.lost('another reason');
    await expect(publishing).rejects.toThrow('the connection was closed');
    await expect(underWay.publish(job, TO, compose, NOTHING)).rejects.toThrow('the connection was closed');
    expect(underWay.all).toEqual([job]);
    expect(underWay.oldest()).toBeUndefined();
  });

  it('leave nothing in memory once they are answered', async () => {
    setFlagsFromString('--expose-gc');
    const collect: () => void = runInNewContext('gc');
    const { answers, underWay } = channel();
    const publish = async () => {
      const job = { job: 1 };
      const publishing = underWay.publish(job, TO, compose, NOTHING);
      answers.pop()?.(undefined);
      await publishing;
      return new WeakRef(job);
    };
    const answered = await publish();
    await expect
      .poll(() => {
        collect();
        return answered.deref() === undefined;
      })
      .toBe(true);
    expect(underWay.all).toEqual([]);
  });
});
