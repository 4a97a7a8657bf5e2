import { PRECONDITION_FAILED } from './reply-codes.js';

/**
 * Codes of RabbitMQ for a message, or a frame, that it does not take; the connection may have a code of its own for a channel's. Others are about
 * rights, queues, or the server itself. Source: AMQP 0-9-1, "Constants".
 */
const REFUSING_A_FRAME = new Set([311, 501, 502, 503, 505, 541]);
const CLASS_BASIC = 60;
const METHOD_PUBLISH = 40;

/** Has RabbitMQ ended this for what was published? */
export function refuses(error: Error): boolean {
  const { code, classId, methodId } = error as Error & { code?: unknown; classId?: unknown; methodId?: unknown };
  const published = classId === CLASS_BASIC && methodId === METHOD_PUBLISH;
  return REFUSING_A_FRAME.has(Number(code)) || (code === PRECONDITION_FAILED && published);
}
