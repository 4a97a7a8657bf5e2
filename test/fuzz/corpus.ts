import { readFileSync } from 'node:fs';

/** One connection's packets, after a Hello that is made for the occasion. */
export interface CorpusEntry {
  readonly name: string;
  /** Every packet is one that our own encoder writes; whether the helper takes them in this order is another matter. */
  readonly valid: boolean;
  readonly packets: readonly Buffer[];
}

/** One JSON object a line, packets in hexadecimal. What a run has found is added at the end. */
const FILE = new URL('corpus/packets.jsonl', import.meta.url);

export function readCorpus(): CorpusEntry[] {
  return readFileSync(FILE, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const { name, valid, packets } = JSON.parse(line) as { name: string; valid: boolean; packets: string[] };
      return { name, valid, packets: packets.map((packet) => Buffer.from(packet, 'hex')) };
    });
}

/** A line for the corpus. */
export function corpusLine(name: string, packets: readonly Buffer[]): string {
  return `${JSON.stringify({ name, valid: false, packets: packets.map((packet) => packet.toString('hex')) })}\n`;
}
