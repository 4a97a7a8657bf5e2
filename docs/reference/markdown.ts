import type { Key, Table } from './tables.js';

/** A configuration as a section of docs/configuration.md. */
export function markdownOf(file: string, about: string, tables: readonly Table[]): string {
  return `## ${file}\n\n${about}\n\n${tables.map(section).join('\n')}`;
}

function section({ heading, text, effect, free, keys }: Table): string {
  const rows = keys.map((key) => `| ${[`\`${key.name}\``, key.takes, fallbackOf(key), key.text].map(cell).join(' | ')} |\n`);
  const table = keys.length === 0 ? '' : `\n| key | value | default | meaning |\n|---|---|---|---|\n${rows.join('')}`;
  const names = free === undefined ? '' : ` ${free}`;
  return `### ${heading}\n\n${text}${names} Takes effect ${effect}.\n${table}`;
}

const fallbackOf = ({ fallback, required }: Key) => (fallback === undefined ? (required ? 'required' : 'not set') : `\`${fallback}\``);

const cell = (text: string) => text.replaceAll('|', '\\|');
