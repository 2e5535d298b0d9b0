import type { Progress } from "@moiety/conformance";
import type { StatusStream } from "../status-line.ts";

/** Share of the cases after which a line is written where no line can be rewritten. */
const LINES = 10;

/**
 * Shows where a run stands: on a terminal one line that is rewritten, elsewhere a line for each
 * tenth. Cases that fail are told at once.
 */
export class ProgressView {
  readonly #stream: StatusStream;
  #told = 0;

  constructor(stream: StatusStream) {
    this.#stream = stream;
  }

  /** To be given to the kit. */
  show({ done, total, running, result }: Progress): void {
    const bad = result && ["fail", "error", "timeout", "xpass"].includes(result.status);
    if (bad) this.#line(`${result.status}: ${result.id}: ${result.reason}`);
    if (this.#stream.isTTY) {
      if (running !== undefined) this.#rewrite(`${done}/${total} ${running}`);
      return;
    }
    const tenth = total === 0 ? 0 : Math.floor((done / total) * LINES);
    if (result === undefined || tenth === this.#told) return;
    this.#told = tenth;
    this.#stream.write(`${done}/${total} cases done\n`);
  }

  /** Clears the line that is rewritten. */
  end(): void {
    if (this.#stream.isTTY) this.#stream.write("\r\u001b[K");
  }

  #line(text: string): void {
    this.end();
    this.#stream.write(`${text}\n`);
  }

  #rewrite(text: string): void {
    const width = Math.max(20, (this.#stream.columns ?? 80) - 1);
    this.#stream.write(`\r\u001b[K${text.length > width ? `${text.slice(0, width - 1)}…` : text}`);
  }
}
