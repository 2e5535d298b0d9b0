import { createYardstick } from "@moiety/conformance";
import type { Backend } from "@moiety/core";
import type { GoldenCase, Values } from "./case.ts";
import type { CaseHandler, RunContext } from "./handler.ts";
import type { Verdict } from "./ledger.ts";

/** The tensor of the choices that can be played back. */
const CHOICES = "selected_experts";

type Found = Verdict["found"];

/**
 * Runs a case in float32, held to the conformance kit's budget. The kit's yardstick runs the same
 * program in float64 and says of every number how far an honest backend may be off; that run must
 * itself give the recorded truth. Choices must be the recorded ones, wherever the yardstick is certain
 * of them. Where rounding may decide a choice, the recorded ones are played back, in both runs. A loss
 * that chooses by itself hears of that nothing: what hangs on its choices has no bound then.
 */
export async function runInFloat32(
  run: CaseHandler,
  golden: GoldenCase,
  backend: Backend,
): Promise<Verdict> {
  const own = await measure(run, golden, backend, false);
  if (!own.passed)
    return withFailures(
      own,
      own.failures.map((what) => `on the yardstick, ${what}`),
    );
  const context: RunContext = { backend, precision: "f32" };
  const first = await run(golden, { ...context, measured: own.found });
  if (!own.found.get(CHOICES)?.bounds) return withShare(first);
  const played = await measure(run, golden, backend, true);
  // A handler that cannot play choices back is held to all of the recorded ones.
  if (!played.passed || played.found.get(CHOICES)?.bounds) return withShare(first);
  const verdict = await run(golden, { ...context, measured: played.found, replay: true });
  const { unclear, missed } = choicesOf(own.found, first.found);
  return withShare({
    ...withFailures(verdict, [...verdict.failures, ...missed]),
    notes: [
      ...verdict.notes,
      `rounding may decide ${unclear} of the choices; they were played back as recorded`,
    ],
  });
}

/**
 * Runs a case on the yardstick of a backend's manifest, with the recorded choices played back or its
 * own. What it finds has bounds.
 */
export async function measure(
  run: CaseHandler,
  golden: GoldenCase,
  { capabilities }: Pick<Backend, "capabilities">,
  replay: boolean,
): Promise<Verdict> {
  const accumulation = capabilities.accumulation.dtype;
  const { backend, boundsOf } = createYardstick({ accumulation, storage: "f32" });
  try {
    return await run(golden, { backend, precision: "f64", boundsOf, replay });
  } finally {
    await backend.dispose();
  }
}

/** Counts the choices that rounding may decide, and names those that it may not but were missed. */
function choicesOf(
  own: Found,
  found: Found,
): { readonly unclear: number; readonly missed: readonly string[] } {
  const { bounds = new Float64Array(0), shape }: Partial<Values> = own.get(CHOICES) ?? {};
  const width = shape?.at(-1) ?? 1;
  const made = found.get(CHOICES)?.data;
  const missed: string[] = [];
  for (const [at, bound] of bounds.entries()) {
    if (bound > 0 || !Number.isNaN(made?.[at] ?? Number.NaN)) continue;
    missed.push(`${CHOICES} row ${Math.floor(at / width)}: a choice is missing that is certain`);
  }
  return { unclear: bounds.filter((bound) => bound > 0).length, missed };
}

function withFailures(verdict: Verdict, failures: readonly string[]): Verdict {
  return { ...verdict, passed: failures.length === 0, failures };
}

/** Tells how much of its budget the worst number used. */
function withShare(verdict: Verdict): Verdict {
  const { worst } = verdict;
  if (worst === null || worst.error === null) return verdict;
  const share = `at most ${worst.error.toPrecision(2)} of the budget (${worst.tensor} row ${worst.row})`;
  return { ...verdict, notes: [...verdict.notes, share] };
}
