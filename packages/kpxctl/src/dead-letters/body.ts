import { indentJson } from '@kpx/broker/output/format';
import { printable } from '@kpx/protocol';

/** Most of a body that is shown to people, in bytes. */
const SHOWN_BYTES_MAX = 64 * 1024;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** undefined when the bytes are no text. */
export function utf8Of(content: Buffer): string | undefined {
  try {
    return utf8.decode(content);
  } catch {
    return undefined;
  }
}

/**
 * A body for people: JSON indented, unless it is opaque; other text by lines, anything else in base64; SHOWN_BYTES_MAX of it, which it then says.
 */
export function bodyLines(content: Buffer, isOpaque: boolean): string[] {
  const shown = content.subarray(0, SHOWN_BYTES_MAX);
  const text = utf8Of(content);
  if (shown.length < content.length) {
    const encoded = text === undefined ? ' in base64' : '';
    const note = `(cut: the first ${shown.length} of ${content.length} bytes${encoded}; --json has all of it)`;
    return [...(text === undefined ? [shown.toString('base64')] : textLines(shown.toString('utf8'))), note];
  }
  if (text === undefined) return [content.toString('base64'), '(not UTF-8: in base64)'];
  return !isOpaque && isJson(text) ? [indentJson(text)] : textLines(text);
}

const textLines = (text: string) => text.split('\n').map(printable);

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
