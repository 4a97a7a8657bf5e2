// Runs in: kpx-ticket@.service, as the user. Gets the user a ticket by the keytab in /etc/kpx/keytabs, and anew while the executor runs: kpx-ticket.cjs ACCOUNT
'use strict';

const { renameSync } = require('node:fs');
const { Refused, firstTicket, judgedFile, keepTickets, principalsIn, timesIn } = require('./kpx-tickets.cjs');

const [account = ''] = process.argv.slice(2);
const ORIGINAL = `/etc/kpx/keytabs/${account}.keytab`;
const CACHE = `${process.env.RUNTIME_DIRECTORY}/krb5cc`;

/** The principal of the account, as the keytab spells it: `alice`, or `alice@CORP.EXAMPLE` for the account alice@corp.example. kinit knows the realm of others. */
function principal() {
  const held = principalsIn(ORIGINAL);
  const [, name = '', domain] = /^(?:[^\\]*\\)?([^@]*)(?:@(.*))?$/.exec(account) ?? [];
  const lower = (/** @type {string} */ text) => text.toLowerCase();
  const isOwn = (/** @type {string} */ one) => {
    const [user = '', realm = ''] = one.split('@');
    return lower(user) === lower(name) && (domain === undefined || lower(realm) === lower(domain));
  };
  const own = held.filter(isOwn);
  const [first] = own.filter((one) => one.startsWith(`${name}@`)).concat(own);
  if (first === undefined) throw new Refused(`${ORIGINAL} is of ${held.join(', ') || 'nobody'}, not of "${account}"`);
  return domain === undefined ? first.slice(0, first.lastIndexOf('@')) : first;
}

keepTickets(() => {
  const key = judgedFile(ORIGINAL);
  return () => {
    if (judgedFile(ORIGINAL) !== key) throw new Refused(`${ORIGINAL} is another since this executor was started: kpxctl stop ${account}`);
    firstTicket({ principal, cache: `${CACHE}.new`, original: ORIGINAL, key });
    // In one step: who reads the cache meanwhile has a whole one.
    renameSync(`${CACHE}.new`, CACHE);
    return { ...timesIn(CACHE), has: 'a ticket' };
  };
});
