import { type Backend, type BackendStatistics, OutOfMemoryError } from "@moiety/core";
import { now, timedOut, withTimeout } from "./clock.ts";
import { CaseRun, type ContextParts } from "./context.ts";
import { checkRecord } from "./execution-record.ts";
import { CaseFailure, KitFault, describeError } from "./failure.ts";
import type { Judgement } from "./judgement.ts";
import { dirtyMemory } from "./memory-guard.ts";

/** What running a case came to. */
export interface CaseOutcome {
  readonly status: "pass" | "fail" | "error" | "timeout";
  /** Empty where it passed. */
  readonly reason: string;
  readonly ms: number;
  readonly judgement: Judgement | undefined;
  readonly notes: ReadonlyMap<string, number>;
}

/** Runs a case with everything that must hold around it: clean memory, canaries, no leak. */
export async function runCase(parts: ContextParts, timeout: number): Promise<CaseOutcome> {
  const run = new CaseRun(parts);
  const start = now();
  const outcome = (status: CaseOutcome["status"], reason: string): CaseOutcome => ({
    status,
    reason,
    ms: now() - start,
    judgement: run.judgement,
    notes: run.notes,
  });
  try {
    const ended = await withTimeout(() => runGuarded(parts, run), timeout);
    return ended === timedOut
      ? outcome("timeout", `not done after ${timeout} ms`)
      : outcome("pass", "");
  } catch (error) {
    return outcome(error instanceof KitFault ? "error" : "fail", describeError(error));
  }
}

async function runGuarded({ testCase, backend }: ContextParts, run: CaseRun): Promise<void> {
  const before = backend.statistics();
  backend.resetRecord();
  try {
    dirtyMemory(backend, []);
    await testCase.run(run);
    await backend.sync();
    await run.checkCanaries();
    checkRecord(backend);
  } finally {
    await run.dispose();
  }
  checkLeaks(before, backend.statistics());
}

/** @throws KitFault where the case kept tensors, CaseFailure where the backend kept buffers */
function checkLeaks(before: BackendStatistics, after: BackendStatistics): void {
  const tensors = after.liveTensors - before.liveTensors;
  if (tensors !== 0) throw new KitFault(`the case left ${tensors} tensors behind`);
  const buffers = after.liveBuffers - before.liveBuffers;
  const bytes = after.liveBytes - before.liveBytes;
  if (buffers === 0 && bytes === 0) return;
  throw new CaseFailure(
    `${buffers} buffers (${bytes} bytes) are still live after every tensor was disposed`,
  );
}

/** Whether a backend still does the least: holds bytes and gives them back, in time. */
export async function stillWorks(backend: Backend, timeout: number): Promise<boolean> {
  try {
    // The first wait takes what failed late and was not asked for yet.
    await withTimeout(() => backend.sync(), timeout).catch(() => undefined);
    const alive = await withTimeout(async () => {
      await backend.sync();
      const tensor = backend.tensor([1, 2, 3]);
      const values = await tensor.read();
      tensor.dispose();
      return values.join() === "1,2,3";
    }, timeout);
    return alive === true;
  } catch (error) {
    return error instanceof OutOfMemoryError;
  }
}
