import type { Config } from '../config/config.js';
import type { JobMac } from './mac.js';

/** The configuration and the key of now: others after a reload. */
export interface InForce {
  readonly config: () => Config;
  readonly mac: () => JobMac;
}
