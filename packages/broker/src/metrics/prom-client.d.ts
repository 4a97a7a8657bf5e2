// prom-client's default metrics one by one: all of them together also watch every garbage collection and every handle. It has no types for them.
declare module 'prom-client/lib/metrics/*.js' {
  import type { Registry } from 'prom-client';
  export default function collect(registry: Registry): void;
}
