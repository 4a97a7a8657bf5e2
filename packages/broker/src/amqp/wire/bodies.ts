import type { Body } from './receive.js';

const NOTHING = Buffer.alloc(0);

/** A body that is kept whole. */
export class KeptBody implements Body {
  readonly full = false;
  readonly #content: Buffer;
  #at = 0;

  constructor(readonly bytes: number) {
    this.#content = Buffer.allocUnsafe(bytes);
  }

  take(part: Buffer): void {
    this.#at += part.copy(this.#content, this.#at);
  }

  end(): Buffer {
    return this.#content;
  }
}

/** A body of which nothing is kept. */
export class SkippedBody implements Body {
  readonly full = false;

  constructor(readonly bytes: number) {}

  take(): void {}

  end(): Buffer {
    return NOTHING;
  }
}

/** How many bytes of bodies are held at once. */
export class HeldBytes {
  #held = 0;

  constructor(readonly max: number) {}

  get held(): number {
    return this.#held;
  }

  /** One that is larger than the whole budget is let in alone. */
  hasRoomFor(bytes: number): boolean {
    return this.#held === 0 || this.#held + bytes <= this.max;
  }

  add(bytes: number): void {
    this.#held += bytes;
  }

  release(bytes: number): void {
    this.#held -= bytes;
  }
}
