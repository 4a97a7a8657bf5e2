import { expect, it } from 'vitest';
import { array, type Field, propertyBytes, table, text } from '../../test-fixtures/wire.js';
import { deathOf } from './death.js';
import { WireProperties } from './wire/properties.js';

/** The header as RabbitMQ writes it: the latest death first. */
const deaths = (...reasons: string[]): Field => [
  'x-death',
  'A',
  array(...reasons.map((reason): [string, Buffer] => ['F', table(['reason', 'S', text(reason)], ['queue', 'S', text('jobs')])])),
];
const expiring: Field = [
  'x-death',
  'A',
  array(
    ['F', table(['reason', 'S', text('maxlen')], ['original-expiration', 'S', text('60000')])],
    ['F', table(['reason', 'S', text('x')])],
  ),
];
const propertiesWith = (...fields: Field[]) => new WireProperties(propertyBytes({ headers: table(...fields) }));

it.each<[what: string, fields: Field[], reason: string | undefined]>([
  ['of one that has died once is the reason', [deaths('maxlen')], 'maxlen'],
  ['of one that has died more often is the latest reason', [deaths('rejected', 'maxlen')], 'rejected'],
  ['of a message with two such headers is not known, as one is not RabbitMQ’s', [deaths('rejected'), deaths('maxlen')], undefined],
  ['of a message without it is not known', [['x-other', 'S', text('maxlen')]], undefined],
  ['in another form is not known', [['x-death', 'S', text('maxlen')]], undefined],
  ['of no death is not known', [deaths()], undefined],
  ['without a reason is not known', [['x-death', 'A', array(['F', table(['queue', 'S', text('jobs')])])]], undefined],
  ['with a reason that is no text is not known', [['x-death', 'A', array(['F', table(['reason', 't', Buffer.from([1])])])]], undefined],
])('the death %s', (_, fields, reason) => {
  expect(deathOf(propertiesWith(...fields))?.reason).toBe(reason);
});

it('a dead letter has the expiration that it had before', () => {
  expect(deathOf(propertiesWith(expiring))?.expiration).toBe('60000');
  expect(deathOf(propertiesWith(deaths('maxlen')))?.expiration).toBeUndefined();
});

it('the death of a message without headers is not known', () => {
  expect(deathOf(new WireProperties(propertyBytes({})))).toBeUndefined();
});
