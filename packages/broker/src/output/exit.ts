/** sysexits.h */
export const EXIT = {
  usage: 64,
  dataError: 65,
  noInput: 66,
  unavailable: 69,
  defect: 70,
  cannotCreate: 73,
  noPermission: 77,
  config: 78,
} as const;

/** An error that ends a command: `message` says what, why and what to do, in a line or two for the person who typed it. */
export class CommandError extends Error {
  override name = 'CommandError';
  readonly exitCode: (typeof EXIT)[keyof typeof EXIT];

  constructor(exitCode: CommandError['exitCode'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

/** How the broker says in a status what ends a command. */
export const STATUS_OF: Readonly<Record<number, number>> = { [EXIT.usage]: 400, [EXIT.noPermission]: 403, [EXIT.noInput]: 410 };
