import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { RawAccount } from '../fixtures/raw-accounts.js';
import { numberOf } from '../fixtures/system-call.mjs';

/** perl and not Node: a round is one system call, with nothing in between in which the other side could win. */
const LOOPS = {
  /** Two names that change places in one step. */
  exchange: 'my ($number, $a, $b) = @ARGV; $number += 0; sub { syscall($number, -100, $a, -100, $b, 2) == 0 }',
  /**
   * A directory, what is in each of its unfinished directories or '.' for itself, and what that is exchanged with. A look counts as a round: there
   * is something for a moment only.
   */
  exchangeUnfinished:
    'my ($number, $in, $what, $b) = @ARGV; $number += 0; sub { syscall($number, -100, "$_/$what", -100, $b, 2) for glob("$in/.kpx-new-*"); 1 }',
  /** A path and two modes, octal. */
  modes: 'my ($path, @modes) = @ARGV; my $turn = 0; sub { chmod(oct($modes[$turn ^= 1]), $path) == 1 }',
  /** A path and two uids. */
  owners: 'my ($path, @uids) = @ARGV; my $turn = 0; sub { chown($uids[$turn ^= 1], -1, $path) == 1 }',
};

/** Says "off", then each 1,000th round, then, when it is told to end, the last. */
const program = (loop: keyof typeof LOOPS) => `
  my $round = do { ${LOOPS[loop]} };
  my ($rounds, $on) = (0, 1);
  $SIG{TERM} = sub { $on = 0 };
  syswrite(STDOUT, "off\\n");
  while ($on) {
    next unless $round->();
    syswrite(STDOUT, "$rounds\\n") if ++$rounds % 1000 == 0;
  }
  syswrite(STDOUT, "$rounds\\n");
`;

/** A process that does one thing in a tight loop, as root or as somebody else. */
export class Racer {
  /** Rounds that succeeded, to the last thousand; to the last one once it has ended. */
  rounds = 0;
  readonly #child;
  readonly #ended: Promise<void>;

  private constructor(argv: readonly string[], off: () => void) {
    const [command = '', ...args] = argv;
    this.#child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const lines = createInterface({ input: this.#child.stdout });
    lines.once('line', off).on('line', (line) => {
      if (line !== 'off') this.rounds = Number(line);
    });
    this.#ended = new Promise((resolve) => lines.once('close', resolve));
  }

  /** Resolves when it runs. */
  static async start(who: RawAccount | 'root', loop: keyof typeof LOOPS, ...args: string[]): Promise<Racer> {
    const as = who === 'root' ? [] : ['/usr/bin/setpriv', '--reuid', `${who.uid}`, '--regid', `${who.gid}`, '--clear-groups', '--'];
    const given = loop.startsWith('exchange') ? [`${numberOf('renameat2')}`, ...args] : args;
    return await new Promise((resolve) => {
      const racer = new Racer([...as, '/usr/bin/perl', '-e', program(loop), ...given], () => resolve(racer));
    });
  }

  async end(): Promise<void> {
    this.#child.kill('SIGTERM');
    await this.#ended;
  }
}
