import { createAccounts } from '../fixtures/accounts.js';

/** Once in a whole run: the accounts that may have an executor, those that may not, and the attacker's. */
export default createAccounts;
