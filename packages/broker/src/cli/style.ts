import { styleText } from 'node:util';

/** On a terminal that has colours and is not told otherwise (NO_COLOR). */
const coloured = (text: string, style: Parameters<typeof styleText>[0]) =>
  process.stdout.isTTY && process.stdout.hasColors() ? styleText(style, text) : text;

export const bold = (text: string) => coloured(text, 'bold');
export const warning = (text: string) => coloured(text, 'yellow');
export const failure = (text: string) => coloured(text, 'red');
export const success = (text: string) => coloured(text, 'green');
