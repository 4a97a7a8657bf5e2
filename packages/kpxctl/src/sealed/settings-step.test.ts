import { expect, it } from 'vitest';
import { configurationText } from '../accounts-rabbitmq.js';
import { changesOf } from './settings-step.js';

const MADE = configurationText({ amqp: 5_673, management: 15_673 });
const NOTHING = { kept: [], gone: [], added: [] };
const MEMORY = 'vm_memory_high_watermark.absolute = 8GB';

it.each([
  ['as it was made', MADE, NOTHING],
  ['with comments of its own', `# ours\n\n${MADE.replaceAll(' = ', '=')}`, NOTHING],
  ['with another bound of memory', MADE.replace(/vm_memory.*/, MEMORY), { ...NOTHING, kept: [MEMORY] }],
  ['with a setting more', `${MADE}heartbeat = 10\n`, { ...NOTHING, kept: ['heartbeat = 10'] }],
  ['without one', MADE.replace(/consumer_timeout.*\n/, ''), { ...NOTHING, added: ['consumer_timeout = 604800000'] }],
  [
    'with a port of before',
    MADE.replace('15673', '15683'),
    { ...NOTHING, gone: ['management.tcp.port = 15683'], added: ['management.tcp.port = 15673'] },
  ],
  ['that listens for other machines', `${MADE}listeners.tcp.2 = 0.0.0.0:5674\n`, { ...NOTHING, gone: ['listeners.tcp.2 = 0.0.0.0:5674'] }],
])('says what setup changes in a rabbitmq.conf %s', (_, there, changes) => {
  expect(changesOf(there, MADE)).toEqual(changes);
});
