import type { Command } from 'commander';

export const CONFIG_FILE = '/etc/kpx/broker.toml';
/** What systemd makes the broker's credential of: commands have no credential. */
export const PASSWORD_FILE = '/etc/kpx/amqp-password';
export const HELPER_CONFIG_FILE = '/etc/kpx/privhelper.toml';

export interface BrokerOptions {
  readonly config: string;
  readonly json?: boolean;
}

/** The options of every command that asks the running broker. */
export const asksBroker = (command: Command, json = 'for programs') => asksAt(command).option('--json', json);

/** Of one that says whether a user may have an executor. */
export const judgesAccount = (command: Command) =>
  command.option(
    '--helper-config <FILE>',
    'configuration of kpx-privhelper, by which root sees who may have an executor',
    HELPER_CONFIG_FILE,
  );

/** Of one that has nothing to say to programs. */
export const asksAt = (command: Command) =>
  command.option('--config <FILE>', "where the broker's control socket is configured", CONFIG_FILE);
