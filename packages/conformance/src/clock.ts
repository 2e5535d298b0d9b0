import { KitFault } from "./failure.ts";

/** What the kit uses of the host beside the language: every host that runs backends has it. */
interface Host {
  setTimeout(run: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
  readonly performance: { now(): number };
}

const host = (): Host => globalThis as unknown as Host;

/** Milliseconds from some point in the past. */
export function now(): number {
  return host().performance.now();
}

/** What {@link withTimeout} gives when time was up. */
export const timedOut: unique symbol = /*#__PURE__*/ Symbol("timed out");

/** The promise's result, or {@link timedOut} when it does not settle in time. */
export async function withTimeout<Result>(
  run: () => Promise<Result>,
  ms: number,
): Promise<Result | typeof timedOut> {
  if (!(ms > 0)) throw new KitFault(`a timeout must be above 0 ms, not ${ms}`);
  let timer: unknown;
  const bell = new Promise<typeof timedOut>((resolve) => {
    timer = host().setTimeout(() => resolve(timedOut), ms);
  });
  try {
    return await Promise.race([run(), bell]);
  } finally {
    host().clearTimeout(timer);
  }
}
