/* Codes with which RabbitMQ closes a channel or a connection. Source: AMQP 0-9-1, "Constants". */
export const ACCESS_REFUSED = 403;
export const NOT_FOUND = 404;
export const RESOURCE_LOCKED = 405;
export const PRECONDITION_FAILED = 406;

/** Has RabbitMQ refused it with this code? */
export const isRefusal = (error: unknown, code: number): boolean => (error as { code?: unknown }).code === code;
