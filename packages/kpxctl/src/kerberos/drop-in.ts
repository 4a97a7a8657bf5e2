/** Its name below the directory of each template unit of executors. */
export const DROP_IN = '20-kpx-ticket.conf';

/**
 * It hides from an executor PID 1's copy of the keytab, and what is noted of it: they are of the same user. So is the directory of the ticket, which the
 * executor could fill: it is in the memory of /run, and all starts need room there.
 */
export const DROP_IN_TEXT = `# Written by kpxctl kerberos setup: no executor without a Kerberos ticket of its user.
# For some users only: move it to kpx-executor@alice.service.d of each, then systemctl daemon-reload.

[Unit]
Requires=kpx-ticket@%i.service
After=kpx-ticket@%i.service

[Service]
Environment=KRB5CCNAME=FILE:/run/kpx-tickets/%i/krb5cc
InaccessiblePaths=-/run/credentials -/var/lib/kpx-tickets
# A program that wants a cache to write to needs another one: KRB5CCNAME=FILE:/tmp/krb5cc
ReadOnlyPaths=-/run/kpx-tickets
`;
