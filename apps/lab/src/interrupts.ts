/** The part of a process that interrupts come from. */
export interface SignalSource {
  on(signal: "SIGINT" | "SIGTERM" | "SIGHUP", listener: () => void): unknown;
}

/** Repeats within this many milliseconds are the same interrupt, passed on by several processes. */
const echo = 1000;

/**
 * Turns the first interrupt into an abort, so that the run can save and end, and lets a later one
 * quit at once.
 */
export function abortOnInterrupt(
  source: SignalSource,
  now: () => number,
  quit: () => void,
): AbortSignal {
  const controller = new AbortController();
  let first: number | undefined;
  const listener = (): void => {
    if (first === undefined) {
      first = now();
      controller.abort();
    } else if (now() - first > echo) {
      quit();
    }
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) source.on(signal, listener);
  return controller.signal;
}
