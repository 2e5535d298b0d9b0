/** Where progress is shown: standard error, or a test's list. */
export interface StatusStream {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
  /** Whether it shows colours. */
  hasColors?(): boolean;
  write(text: string): unknown;
}

const DEFAULT_COLUMNS = 80;

/** One line of a terminal that is rewritten; elsewhere nothing. */
export class StatusLine {
  readonly #stream: StatusStream;

  constructor(stream: StatusStream) {
    this.#stream = stream;
  }

  /** Puts a text in the place of the last. */
  show(text: string): void {
    if (!this.#stream.isTTY) return;
    const width = (this.#stream.columns ?? DEFAULT_COLUMNS) - 1;
    this.#stream.write(`\r\u001b[K${text.length > width ? `${text.slice(0, width - 1)}…` : text}`);
  }

  /** Clears it. */
  clear(): void {
    if (this.#stream.isTTY) this.#stream.write("\r\u001b[K");
  }
}
