import { access, constants } from 'node:fs/promises';
import { BlockList, isIPv6 } from 'node:net';
import { isLoopback } from '@kpx/broker/config/address';
import { HOLD_MAX_MS } from '@kpx/broker/executors/machine';
import { runCommand } from '@kpx/privhelper/system/command';
import { ASK_AS_ROOT, type Check, ok, Skipped, warn } from './check.js';
import type { Scene } from './scene.js';

const RABBITMQCTL = '/usr/sbin/rabbitmqctl';
/** How long rabbitmqctl may take, in milliseconds: whether RabbitMQ answers at all is seen by others. */
const RABBITMQCTL_TIMEOUT_MS = 20_000;
const ELSEWHERE = "cannot be seen from here; on the RabbitMQ machine: rabbitmqctl eval 'application:get_env(rabbit, consumer_timeout).'";

/** Checks of RabbitMQ that need no login: the way there, and its settings where it runs on this machine. */
export const rabbitmqHostChecks = (scene: Scene): Check[] => [mayReach(scene), consumerTimeout(scene)];

const hostsOf = async ({ broker }: Scene) => [
  ...new Set((await broker()).amqp.urls.map((url) => new URL(url).hostname.replace(/^\[|\]$/g, ''))),
];

/** `/usr/bin/getent ahosts -- NAME`: the addresses of a host, as the broker will see them. */
async function addressesOf(host: string, signal: AbortSignal): Promise<string[]> {
  const { stdout } = await runCommand('/usr/bin/getent', ['ahosts', '--', host], signal);
  return [...new Set(stdout.split('\n').map((line) => line.split(/\s/)[0] ?? ''))].filter((address) => address !== '');
}

const mayReach = (scene: Scene): Check => ({
  name: 'broker may reach RabbitMQ',
  fix: 'systemctl edit kpx-broker.service with an IPAddressAllow= line of the address in [Service] (install.md, "When something is elsewhere"), then systemctl restart kpx-broker.',
  look: async (signal) => {
    const { LoadState, IPAddressAllow, IPAddressDeny } = await scene.brokerUnit();
    if (LoadState !== 'loaded') throw new Skipped('the unit cannot be loaded');
    if (IPAddressDeny === '') return ok('its unit denies no address');
    const allowed = new BlockList();
    for (const [, network = '', prefix = ''] of IPAddressAllow.matchAll(/([\da-f.:]+)\/(\d+)/gi))
      allowed.addSubnet(network, Number(prefix), familyOf(network));
    for (const host of await hostsOf(scene)) {
      const addresses = await addressesOf(host, signal);
      const denied = addresses.filter((address) => !allowed.check(address, familyOf(address)));
      if (addresses.length > 0 && denied.length === addresses.length)
        throw new Error(`${host} is ${denied.join(', ')}, and the unit of the broker allows ${IPAddressAllow} only`);
    }
    return ok('its unit allows the addresses in amqp.urls');
  },
});

const familyOf = (address: string) => (isIPv6(address) ? 'ipv6' : 'ipv4');

/** `/usr/sbin/rabbitmqctl --quiet eval …`: RabbitMQ tells it nobody but its own administrator. */
const consumerTimeout = (scene: Scene): Check => ({
  name: 'consumer timeout',
  fix: `See rabbitmqctl status. It ${ELSEWHERE}.`,
  look: async () => {
    const isHere = (await hostsOf(scene)).some((host) => host === 'localhost' || isLoopback({ host, port: 0 }));
    const isInstalled = await access(RABBITMQCTL, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (!isHere || !isInstalled) throw new Skipped(ELSEWHERE);
    if (!scene.isRoot) throw new Skipped(ASK_AS_ROOT);
    const question = 'application:get_env(rabbit, consumer_timeout).';
    const inTime = AbortSignal.timeout(RABBITMQCTL_TIMEOUT_MS);
    const { exitCode, stdout, stderr } = await runCommand(RABBITMQCTL, ['--quiet', 'eval', question], inTime).catch((error: Error) => ({
      exitCode: -1,
      stdout: '',
      stderr: error.message,
    }));
    const [why = ''] = stderr.split('\n');
    if (exitCode !== 0) throw new Skipped(`rabbitmqctl cannot ask RabbitMQ: ${why}`);
    const [, digits] = /^\{ok,\s*(\d+)\}/.exec(stdout.trim()) ?? [];
    if (digits === undefined) return ok('none');
    const seconds = Number(digits) / 1_000;
    if (Number(digits) > HOLD_MAX_MS) return ok(`${seconds} s; a job is held for ${HOLD_MAX_MS / 1_000} s at most`);
    const fix = `Set consumer_timeout in rabbitmq.conf to more than ${HOLD_MAX_MS}: RabbitMQ closes the broker's channel otherwise, and every held job comes anew.`;
    return warn(`${seconds} s, and a job may be held for ${HOLD_MAX_MS / 1_000} s`, fix);
  },
});
