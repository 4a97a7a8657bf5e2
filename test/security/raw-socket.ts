import type { Attacker, Outcome } from './attacker.js';
import { hello } from './wire.js';

/*
 * What node-unix-socket has no call for, in Perl, which is on every Debian.
 */

/** Sends on a connection of its own, with the program's `$s`, after a Hello that has been answered. */
const PERL = `
  socket(my $s, AF_UNIX, SOCK_SEQPACKET, 0) or die $!;
  connect($s, sockaddr_un($ARGV[0])) or die "connect: $!";
  send($s, pack('H*', $ARGV[1]), 0) or die "hello: $!";
  recv($s, my $hello, 65536, 0);
`;
/** msghdr, iovec and cmsghdr of sendmsg(2) for as many descriptors of /dev/null as $ARGV[3] says; its number depends on the processor. */
export const SEND_DESCRIPTORS = `
  open(my $null, '<', '/dev/null') or die $!;
  my $data = pack('H*', $ARGV[2]);
  my $descriptors = pack('i*', (fileno($null)) x $ARGV[3]);
  my $control = pack('Q i i a*', 16 + length $descriptors, SOL_SOCKET, 1, $descriptors);
  $control .= chr(0) x (-length($control) % 8);
  my $iovec = pack('P Q', $data, length $data);
  my $message = pack('Q L x4 P Q P Q i x4', 0, 0, $iovec, 1, $control, length $control, 0);
  my $number = { x86_64 => 46, aarch64 => 211 }->{(split ' ', \`uname -m\`)[0]};
  syscall($number, fileno($s), $message, 0) > 0 or die "sendmsg: $!";
`;
/** Says each answer, and the end. */
export const READ_TO_END = 'while (recv($s, my $answer, 65536, 0), length $answer) { print "answer\\n" } print "end\\n";';

/** `program` goes on with `$s`, `packet` in hexadecimal as $ARGV[2], and `args` after it. What it prints is the outcome. */
export async function rawSocket(attacker: Attacker, socket: string, program: string, packet: Buffer, ...args: string[]): Promise<Outcome> {
  return await attacker.tries('perl', PERL + program, socket, hello.toString('hex'), packet.toString('hex'), ...args);
}
