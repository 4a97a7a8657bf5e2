import { deepStrictEqual, ok } from 'node:assert/strict';
import { decodeRequest, decodeResponse, encodeRequest, encodeResponse, PACKET_BYTES_MAX, ProtocolViolation } from '@kpx/protocol';
import * as fc from 'fast-check';
import { anyRequest, anyResponse, damaged } from '../../packages/protocol/test-fixtures/messages.js';

/** Longest that judging one packet may take, in milliseconds. The quickest of some tries counts: the machine has other things to do. */
const DECODE_MS_MAX = 50;
const DECODE_TRIES_MAX = 5;

const BOTH = [
  { decode: decodeRequest, encode: encodeRequest },
  { decode: decodeResponse, encode: encodeResponse },
] as const;

/** Throws unless the bytes, taken for a request and for a response, are refused as a violation or are what encoding their meaning gives. */
export function judgeBytes(packet: Buffer): void {
  for (const { decode, encode } of BOTH) {
    let meaning: unknown;
    let quickestMs = Number.POSITIVE_INFINITY;
    for (let tries = 0; tries < DECODE_TRIES_MAX && quickestMs > DECODE_MS_MAX; tries++) {
      const began = performance.now();
      try {
        meaning = decode(packet);
      } catch (error) {
        if (!(error instanceof ProtocolViolation)) throw error;
        meaning = undefined;
      }
      quickestMs = Math.min(quickestMs, performance.now() - began);
    }
    ok(quickestMs <= DECODE_MS_MAX, `${decode.name} took ${Math.round(quickestMs)} ms for ${packet.length} bytes`);
    if (meaning !== undefined)
      ok((encode as (message: unknown) => Buffer)(meaning).equals(packet), `${decode.name} takes other bytes, too`);
  }
}

/** fast-check's objects have no prototype, the codec's have Object's. */
const same = (found: object, wanted: object) => deepStrictEqual(found, structuredClone(wanted));

/** Packets as long as they may be, or a little longer: few large fields or many small ones. */
const large = fc
  .record({
    unit: fc.uint8Array({ minLength: 1, maxLength: 16 }),
    head: anyRequest.map(encodeRequest),
    excess: fc.integer({ min: -2, max: 2 }),
  })
  .map(({ unit, head, excess }) => Buffer.concat([head, Buffer.alloc(PACKET_BYTES_MAX + excess - head.length, unit)]));

/** Each with the packets of a counterexample. */
export const codecProperties = [
  {
    name: 'a request comes back from its packet as it went in',
    property: fc.property(anyRequest, (request) => same(decodeRequest(encodeRequest(request)), request)),
    packets: ([request]: unknown[]) => [encodeRequest(request as Parameters<typeof encodeRequest>[0])],
  },
  {
    name: 'a response comes back from its packet as it went in',
    property: fc.property(anyResponse, (response) => same(decodeResponse(encodeResponse(response)), response)),
    packets: ([response]: unknown[]) => [encodeResponse(response as Parameters<typeof encodeResponse>[0])],
  },
  {
    name: 'bytes are refused, or are what encoding their meaning gives',
    property: fc.property(
      fc.oneof({ weight: 60, arbitrary: damaged(fc.oneof(anyRequest.map(encodeRequest), anyResponse.map(encodeResponse))) }, large),
      judgeBytes,
    ),
    packets: ([packet]: unknown[]) => [packet as Buffer],
  },
];
