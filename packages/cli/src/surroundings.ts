import type { Output } from "./output.ts";
import type { StatusStream } from "./status-line.ts";

/** What commands meet of the world beside their output. */
export interface Surroundings {
  /** Takes progress, and what is said about a run rather than by it. */
  readonly status: StatusStream;
  /** Takes listeners to interrupts. */
  readonly interrupts: InterruptSource;
  /** Ends the program at once. */
  quit(code: number): void;
  /** Milliseconds since some moment. */
  now(): number;
}

/** The part of a process that interrupts come from. */
export interface InterruptSource {
  on(signal: "SIGINT" | "SIGTERM", listener: () => void): unknown;
  off(signal: "SIGINT" | "SIGTERM", listener: () => void): unknown;
}

/** The terminal and its process. */
export function processSurroundings(): Surroundings {
  return {
    status: process.stderr,
    interrupts: process,
    quit: (code) => process.exit(code),
    now: () => performance.now(),
  };
}

/** Repeats within this many milliseconds are the same interrupt, passed on by several processes. */
const ECHO = 1000;

/** What shells give for a program that Ctrl-C ended. */
export const INTERRUPTED = 130;

/**
 * Does something that the first interrupt aborts, so that it can end by itself; a later one quits at
 * once.
 */
export async function interruptible(
  { interrupts, now, quit }: Surroundings,
  output: Output,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const controller = new AbortController();
  let first: number | undefined;
  const listener = (): void => {
    if (first === undefined) {
      first = now();
      controller.abort(new Interrupted());
    } else if (now() - first > ECHO) {
      quit(INTERRUPTED);
    }
  };
  const signals = ["SIGINT", "SIGTERM"] as const;
  for (const signal of signals) interrupts.on(signal, listener);
  try {
    await work(controller.signal);
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    output.exit(INTERRUPTED);
  } finally {
    for (const signal of signals) interrupts.off(signal, listener);
  }
}

/** Why something was aborted: Ctrl-C. */
export class Interrupted extends Error {
  override readonly name: string = "Interrupted";

  constructor() {
    super("interrupted");
  }
}
