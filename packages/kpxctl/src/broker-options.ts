import type { Command } from 'commander';

export const CONFIG_FILE = '/etc/kpx/broker.toml';
/** systemd makes the broker's credential of it: commands have no credential. */
export const PASSWORD_FILE = '/etc/kpx/amqp-password';
export const HELPER_CONFIG_FILE = '/etc/kpx/privhelper.toml';

export interface BrokerOptions {
  readonly config: string;
  readonly json?: boolean;
}

/** The options of every command that asks the running broker. */
export const asksBroker = (command: Command, json = 'print JSON, for programs') => asksAt(command).option('--json', json);

/** For a command that says whether a user may have an executor. */
export const judgesAccount = (command: Command) =>
  command.option(
    '--helper-config <FILE>',
    'configuration of kpx-privhelper, which tells root who may have an executor',
    HELPER_CONFIG_FILE,
  );

/** For a command that has no output for programs. */
export const asksAt = (command: Command) =>
  command.option('--config <FILE>', 'configuration of kpx-broker, which names its control socket', CONFIG_FILE);
