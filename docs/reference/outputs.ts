import { readFileSync } from 'node:fs';
import { privhelperConfigSchema as privhelperSchema } from '@kpx/protocol';
import { configSchema as brokerSchema } from '../../packages/broker/src/config/config.js';
import { kpxctl } from '../../packages/kpxctl/src/program.js';
import { BROKER_TEXTS } from './broker.js';
import { withCatalogue } from './catalogue.js';
import { completions } from './completion.js';
import { jsonSchemaFor } from './json-schema.js';
import { markdownOf } from './markdown.js';
import { withTables } from './mdoc.js';
import { PRIVHELPER_TEXTS } from './privhelper.js';
import { tablesOf } from './tables.js';

const ROOT = new URL('../../', import.meta.url);

const HEAD = `<!-- Made by \`npm run reference\` from the schemas that the programs judge by: edit docs/reference/ instead. -->
# The configuration, key by key

Two files in TOML, each with every key, its default and a comment as the package brings it: [broker.toml](../systemd/broker.toml) and
[privhelper.toml](../systemd/privhelper.toml). Keys that are not named here are errors, and so are values of another type. The man pages
kpx-broker.toml(5) and kpx-privhelper.toml(5) say the same, with examples; [tune.md](tune.md) is by task.

An editor that reads JSON Schema for TOML (Taplo, Even Better TOML) completes and checks both files while they are edited: their first line names
the schema, in \`/usr/share/kpx\`. \`--check\` judges what only the programs can.
`;

const BROKER_ABOUT = `\`/etc/kpx/broker.toml\`, owner root, group \`kpx-broker\`, mode 0640: where RabbitMQ is, and when executors are started. Check:
\`kpx-broker --config /etc/kpx/broker.toml --check\`, which also says what would change in the running broker. A file that is wrong is refused
by a reload, and the old configuration stays in force.`;

const PRIVHELPER_ABOUT = `\`/etc/kpx/privhelper.toml\`, owner root, mode 0600; the file and all directories above it must be root's and writable by nobody else. It says who may have
an executor, and where users' directories are. Check: \`kpx-privhelper --config /etc/kpx/privhelper.toml --check\`. Everything in this file is
trusted, so the broker has no way to change it.`;

/** Every file that is made of the schemas and of kpxctl's verbs, by its path in the checkout. */
export function outputs(): Record<string, string> {
  const broker = tablesOf(brokerSchema, BROKER_TEXTS);
  const privhelper = tablesOf(privhelperSchema, PRIVHELPER_TEXTS);
  const page = (name: string) => readFileSync(new URL(`systemd/man/${name}`, ROOT), 'utf8');
  return {
    'docs/configuration.md': `${HEAD}\n${markdownOf('broker.toml', BROKER_ABOUT, broker)}\n${markdownOf('privhelper.toml', PRIVHELPER_ABOUT, privhelper)}`,
    'systemd/broker.schema.json': jsonSchemaFor('/etc/kpx/broker.toml of kpx', brokerSchema, BROKER_TEXTS),
    'systemd/privhelper.schema.json': jsonSchemaFor('/etc/kpx/privhelper.toml of kpx', privhelperSchema, PRIVHELPER_TEXTS),
    'systemd/man/kpx-broker.toml.5': withTables(page('kpx-broker.toml.5'), broker),
    'systemd/man/kpx-privhelper.toml.5': withTables(page('kpx-privhelper.toml.5'), privhelper),
    'docs/operate.md': withCatalogue(readFileSync(new URL('docs/operate.md', ROOT), 'utf8')),
    ...completions(kpxctl()),
  };
}
