// /usr/share/doc/kpx/sbom.cdx.json: which npm packages the programs are made of, in CycloneDX's format.

import { spawnSync } from 'node:child_process';
import { EXIT_UNAVAILABLE, PrepareError } from '../../scripts/prepare.mjs';
import { CHECKOUT } from './checkout.mjs';

const NPM_TIMEOUT_MS = 60_000;
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;
const OWN_PACKAGES = /^@kpx\//;

/**
 * What npm says of the installed packages, less those that no program of ours depends on. npm's own `--omit dev` would also leave out what is
 * needed at run time if a tool needs it too (npm 11: protobufjs, for one). Nothing of the time and the machine it is made on.
 * @param {string} version
 * @param {number} epoch seconds
 */
export function sbom(version, epoch) {
  const { components, dependencies, ...document } = askNpm();
  const dependsOn = new Map(dependencies.map(({ ref, dependsOn }) => [ref, dependsOn]));
  const own = components.map((component) => component['bom-ref']).filter((ref) => OWN_PACKAGES.test(ref));
  const needed = new Set(own);
  for (const ref of needed) for (const dependency of dependsOn.get(ref) ?? []) needed.add(dependency);
  const { $schema, bomFormat, specVersion } = document;
  const program = { type: 'application', 'bom-ref': 'kpx', name: 'kpx', version, licenses: [{ license: { id: 'Apache-2.0' } }] };
  const bom = {
    ...{ $schema, bomFormat, specVersion, version: 1 },
    metadata: { timestamp: new Date(epoch * 1000).toISOString(), component: program },
    components: components.filter((component) => needed.has(component['bom-ref'])),
    dependencies: [{ ref: 'kpx', dependsOn: own }, ...dependencies.filter(({ ref }) => needed.has(ref))],
  };
  return `${JSON.stringify(bom, null, 2)}\n`;
}

/** @typedef {{ components: { 'bom-ref': string }[], dependencies: { ref: string, dependsOn: string[] }[] } & Record<string, unknown>} Bom */

/** @returns {Bom} */
function askNpm() {
  const args = ['sbom', '--sbom-format=cyclonedx', '--offline', '--no-update-notifier', '--logs-max=0'];
  const result = spawnSync('npm', args, { cwd: CHECKOUT, encoding: 'utf8', timeout: NPM_TIMEOUT_MS, maxBuffer: OUTPUT_BYTES_MAX });
  if (result.status === 0) return JSON.parse(result.stdout);
  const why = result.error?.message ?? `exit code ${result.status ?? result.signal}`;
  throw new PrepareError(`npm ${args.join(' ')}: ${why}\n${result.stderr ?? ''}`, EXIT_UNAVAILABLE);
}
