/** The keytab of this machine, as a member of a domain, and the services that it gets tickets of users for. */
export const MACHINE_KEYTAB = '/etc/krb5.keytab';
export const SERVICES = '/etc/kpx/delegation';
/** The account of kpx-ticket@.service where tickets come by delegation: of PID 1's making, and of no other process. */
export const DELEGATION_ACCOUNT = 'kpx-delegation';

/** Its name below the directory of the unit of tickets, and that unit. */
export const DELEGATION = '20-kpx-delegation.conf';
export const TICKET_TEMPLATE = 'kpx-ticket@';

/** It replaces all that has to do with the user's keytab. */
export const DELEGATION_TEXT = `# Written by kpxctl kerberos setup --delegate-to: tickets of users by the keytab of this machine, for the services in ${SERVICES}.
# For some users only: move it to kpx-ticket@alice.service.d of each, then systemctl daemon-reload.

[Service]
ExecStart=
ExecStart=/usr/bin/node --jitless --max-semi-space-size=1 --disallow-code-generation-from-strings --disable-proto=throw /usr/lib/kpx/kpx-ticket-delegation.cjs %i
# Neither root nor the user: the keytab of this machine is good for everybody's tickets.
User=${DELEGATION_ACCOUNT}
DynamicUser=yes
# To give the user the cache, since smbclient opens none of others'. Nothing else can be written to (ProtectSystem=strict, DynamicUser=yes).
CapabilityBoundingSet=
CapabilityBoundingSet=CAP_CHOWN
AmbientCapabilities=
AmbientCapabilities=CAP_CHOWN
LoadCredential=
LoadCredential=keytab:${MACHINE_KEYTAB}
LoadCredential=services:${SERVICES}
SetCredential=services:none
# The second is for the ticket of this machine, which the user cannot open.
RuntimeDirectory=
RuntimeDirectory=kpx-tickets/%i kpx-delegation/%i
RuntimeDirectoryMode=0700
StateDirectory=
StateDirectory=kpx-delegation
StateDirectoryMode=0700
`;

export const SERVICES_MAX = 16;
/** A line of {@link SERVICES}, in the terms of kpx-ticket-delegation.cjs. */
export const isService = (text: string) => /^[A-Za-z][A-Za-z0-9-]*\/[A-Za-z0-9][A-Za-z0-9.-]*(@[A-Z0-9.-]+)?$/.test(text);

export const servicesIn = (text: string) =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));

export const servicesText = (services: readonly string[]) =>
  `# Written by kpxctl kerberos setup --delegate-to: a user's executor gets tickets for these services, in the user's name.\n${services.map((one) => `${one}\n`).join('')}`;
