import { createAccounts } from '../fixtures/accounts.js';

export default createAccounts;
