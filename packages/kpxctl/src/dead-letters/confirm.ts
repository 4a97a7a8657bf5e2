import { createInterface } from 'node:readline';

/** Other operators' commands wait meanwhile; in milliseconds. */
const ANSWER_TIMEOUT_MS = 120_000;

/**
 * Asks on the terminal for `answer`, letter by letter. Anything else, no answer in time and Ctrl-C or Ctrl-D are a no. Rejects when `lost`
 * does.
 */
export async function confirmed(answer: string, lost: Promise<never>): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const said = new Promise<string>((resolve) => {
      terminal.question(`Type "${answer}" to go on: `, resolve);
      terminal.once('close', () => resolve(''));
      setTimeout(() => resolve(''), ANSWER_TIMEOUT_MS).unref();
    });
    return (await Promise.race([said, lost])).trim() === answer;
  } finally {
    terminal.close();
  }
}
