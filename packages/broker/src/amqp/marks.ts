import { HOST_CHARS_MAX, HOSTS_MAX, type Marks } from '../executors/hand-back.js';
import { FAILED_ON_HEADER, HANDED_BACK_HEADER } from './headers.js';
import type { OwnHeaders } from './wire/properties.js';

export function marksOf({ [HANDED_BACK_HEADER]: count, [FAILED_ON_HEADER]: hosts }: OwnHeaders): Marks {
  const handedBack = Number.isSafeInteger(count) ? Math.max(0, Number(count)) : 0;
  const failedOn = typeof hosts === 'string' ? hosts.slice(0, HOSTS_MAX * (HOST_CHARS_MAX + 1)).split(' ') : [];
  return { handedBack, failedOn: failedOn.filter((host) => host !== '').slice(0, HOSTS_MAX) };
}

export const headersOf = ({ handedBack, failedOn }: Marks) => ({
  [HANDED_BACK_HEADER]: handedBack,
  [FAILED_ON_HEADER]: failedOn.join(' '),
});
