import { spawn } from "node:child_process";
import { constants } from "node:os";
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
  /** The time of day. */
  date(): Date;
  readonly workingFolder: string;
  /** How the command line was begun, where it was not with `moiety` and the command's name. */
  readonly calledAs: string | undefined;
  /** Runs a program with Node to its end, in this terminal, and gives its exit code. */
  runNode(file: string, words: readonly string[]): Promise<number>;
}

/** Signals that ask for an end. */
type Signal = "SIGINT" | "SIGTERM" | "SIGHUP";

const SIGNALS: readonly Signal[] = ["SIGINT", "SIGTERM", "SIGHUP"];

/** The part of a process that interrupts come from. */
export interface InterruptSource {
  on(signal: Signal, listener: () => void): unknown;
  off(signal: Signal, listener: () => void): unknown;
}

/** The terminal and its process. */
export function processSurroundings(): Surroundings {
  return {
    status: process.stderr,
    interrupts: process,
    quit: (code) => process.exit(code),
    now: () => performance.now(),
    date: () => new Date(),
    workingFolder: process.cwd(),
    calledAs: process.env["MOIETY_CALLED_AS"],
    runNode,
  };
}

/** In a terminal Ctrl-C reaches the child by itself; what came to this process alone is handed on. */
function runNode(file: string, words: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [file, ...words], { stdio: "inherit" });
    const listeners = SIGNALS.map((signal) => {
      const listener = (): void => {
        if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal);
      };
      process.on(signal, listener);
      return () => process.off(signal, listener);
    });
    const forget = (): void => {
      for (const remove of listeners) remove();
    };
    child.on("error", (error) => {
      forget();
      reject(error);
    });
    child.on("close", (code, signal) => {
      forget();
      resolve(code ?? SIGNALED + (signal === null ? 0 : constants.signals[signal]));
    });
  });
}

/** Repeats within this many milliseconds are the same interrupt, passed on by several processes. */
const ECHO = 1000;

/** What shells add to the number of the signal that ended a program. */
const SIGNALED = 128;

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
  for (const signal of SIGNALS) interrupts.on(signal, listener);
  try {
    await work(controller.signal);
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    output.exit(INTERRUPTED);
  } finally {
    for (const signal of SIGNALS) interrupts.off(signal, listener);
  }
}

/** Why something was aborted: Ctrl-C. */
export class Interrupted extends Error {
  override readonly name: string = "Interrupted";

  constructor() {
    super("interrupted");
  }
}
