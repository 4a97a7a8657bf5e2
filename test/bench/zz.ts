import { createAccounts } from '../fixtures/accounts.js';
import { startRabbitmq } from '../fixtures/rabbitmq.js';
import { burst } from './bursts.js';
createAccounts();
const r = await startRabbitmq();
console.log(JSON.stringify(await burst(r, 20, 5)));
await r.remove();
