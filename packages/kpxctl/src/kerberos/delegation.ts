import { lstat, readFile } from 'node:fs/promises';
import { CommandError, EXIT } from '@kpx/broker/output/exit';
import {
  DELEGATION,
  DELEGATION_TEXT,
  isService,
  MACHINE_KEYTAB,
  SERVICES,
  SERVICES_MAX,
  servicesIn,
  servicesText,
  TICKET_TEMPLATE,
} from '../delegated-services.js';
import { placeOf, presence, removal } from '../executor-units/drop-ins.js';
import { fileStep, ROOTS_MODE, type Step } from '../sealed/steps.js';

const TEMPLATES = [TICKET_TEMPLATE];
const DROP_IN = {
  name: DELEGATION,
  text: DELEGATION_TEXT,
  why: 'tickets of users come by delegation, and by no keytab of theirs',
  without: 'this machine gets no tickets of users',
};

/** All that kpx-ticket@.service needs to get tickets of users by the keytab of this machine. `given`: on the command line, undefined: as it was set up. */
export async function delegationSteps(given: readonly string[] | undefined): Promise<Step[]> {
  const services = given ?? servicesIn(await readFile(SERVICES, 'utf8').catch(() => ''));
  const wrong = services.find((one) => !isService(one));
  if (wrong !== undefined) throw new CommandError(EXIT.usage, `"${wrong}" is no service: write it as cifs/files.corp.example`);
  if (services.length === 0 || services.length > SERVICES_MAX)
    throw new CommandError(EXIT.usage, `${services.length} services are named: 1 to ${SERVICES_MAX} can be.`);
  const content = servicesText(services);
  const why = `an executor gets tickets for these services, in the name of its user: ${services.join(', ')}`;
  return [
    await machineKeytab(),
    await fileStep({
      path: SERVICES,
      content,
      mode: ROOTS_MODE,
      gid: 0,
      why,
      isSame: (there) => String(servicesIn(there)) === String(services),
    }),
    ...(await presence(TEMPLATES, DROP_IN)),
  ];
}

export const delegationRemoval = () => removal(TEMPLATES, DROP_IN);

/** Whose tickets come by delegation. */
export const delegationPlace = () => placeOf(TEMPLATES, DELEGATION);

async function machineKeytab(): Promise<Step> {
  const why = 'by it this machine gets tickets of users: whoever can read it acts for every user whom the domain does not exempt';
  const file = await lstat(MACHINE_KEYTAB).catch(() => undefined);
  if (file === undefined)
    return { name: MACHINE_KEYTAB, state: 'fails', why: 'it is not there: have this machine join the domain first (adcli, realm)' };
  if (file.isFile() && file.uid === 0 && (file.mode & 0o177) === 0) return { name: MACHINE_KEYTAB, state: 'ok', why };
  const lines = [`chown root:root ${MACHINE_KEYTAB}`, `chmod 0600 ${MACHINE_KEYTAB}`];
  return { name: MACHINE_KEYTAB, state: 'fails', why: `it has to be a file of root with mode 0600: ${why}`, lines };
}
