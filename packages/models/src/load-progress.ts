/** How far a load has come. */
export interface LoadProgress {
  /** The tensor of the checkpoint that was read last. */
  readonly tensor: string;
  /** Bytes of the checkpoint that were read, and passed on to the backend. */
  readonly bytes: number;
  /** Bytes of all tensors that are read. */
  readonly totalBytes: number;
  /** Bytes per second since the first was asked for. */
  readonly bytesPerSecond: number;
}

const MILLISECONDS = 1000;

/** Counts bytes and tells how far it is. */
export class ProgressMeter {
  readonly #totalBytes: number;
  readonly #tell: ((progress: LoadProgress) => void) | undefined;
  readonly #begin = Date.now();
  #bytes = 0;

  constructor(totalBytes: number, tell: ((progress: LoadProgress) => void) | undefined) {
    this.#totalBytes = totalBytes;
    this.#tell = tell;
  }

  /** Bytes that were read. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Takes note of bytes of a tensor. */
  add(tensor: string, bytes: number): void {
    this.#bytes += bytes;
    // A clock in whole milliseconds may not have moved yet.
    const elapsed = Math.max(1, Date.now() - this.#begin) / MILLISECONDS;
    this.#tell?.({
      tensor,
      bytes: this.#bytes,
      totalBytes: this.#totalBytes,
      bytesPerSecond: this.#bytes / elapsed,
    });
  }
}
