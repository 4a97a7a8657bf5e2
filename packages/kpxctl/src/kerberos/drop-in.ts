/** Its name below the directory of each template unit of executors. */
export const DROP_IN = '20-kpx-ticket.conf';

const textOf = (
  unit: string,
  cache: string,
  hidden: string,
) => `# Written by kpxctl kerberos setup: no executor without a Kerberos ticket of its user.
# For some users only: move it to kpx-executor@alice.service.d of each, then systemctl daemon-reload.

[Unit]
Requires=${unit}@%i.service
After=${unit}@%i.service

[Service]
Environment=KRB5CCNAME=FILE:/run/${cache}/%i/krb5cc
InaccessiblePaths=${hidden}
`;

/** By keytabs of users. It hides from an executor PID 1's copy of the keytab, and what is noted of it: they are of the same user. */
export const BY_KEYTAB = textOf('kpx-ticket', 'kpx-tickets', '-/run/credentials -/var/lib/kpx-tickets');

export const BY_DELEGATION = textOf('kpx-delegate', 'kpx-delegated', '-/run/credentials');
