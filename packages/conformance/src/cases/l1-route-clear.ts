import type { RouteSpec } from "@moiety/core";
import type { BoundedValues } from "../case.ts";
import type { HostTensor } from "../host-tensor.ts";
import { upTo } from "./l1-support.ts";

/** The part of a routing that decides its choice. */
interface Decision {
  readonly spec: RouteSpec;
  readonly inputs: { readonly bias?: HostTensor; readonly allowed?: HostTensor };
}

/** Something that is ranked: its value, how far that may be off, and what it was made of. */
interface Candidate {
  readonly value: number;
  readonly bound: number;
  /** Two with equal origins have equal values on every backend. */
  readonly origin: string;
}

/**
 * Tokens whose choice the bounds of the compared scores leave open. Equals that are equal because
 * the same was computed from the same numbers are not open: they go to the lower index.
 */
export function unclearTokens(decision: Decision, compared: BoundedValues): number[] {
  const [tokens = 0] = compared.shape;
  return upTo(tokens).filter((token) => !isClear(decision, compared, token));
}

function isClear({ spec, inputs }: Decision, compared: BoundedValues, token: number): boolean {
  const { experts, topK: k, groups } = spec;
  const { bias, allowed } = inputs;
  const candidates = upTo(experts).map((expert): Candidate => {
    const at = token * experts + expert;
    const added = bias?.data[expert] ?? 0;
    const value = (compared.values[at] ?? 0) + added;
    const rounding = bias && compared.bounds[at] !== 0 ? 2 ** -22 * Math.abs(value) : 0;
    const bound = (compared.bounds[at] ?? 0) + rounding;
    return { value, bound, origin: `${compared.values[at]} + ${added}` };
  });
  let open = upTo(experts).filter((expert) => allowed?.data[token * experts + expert] !== 0);
  if (groups !== undefined) {
    const size = experts / groups.count;
    const best = groups.score === "max" ? 1 : Math.min(groups.score.top, size);
    const sums = upTo(groups.count).map((group) =>
      sumOfBest(candidates.slice(group * size, (group + 1) * size), best),
    );
    if (!rankIsClear(sums, groups.topK)) return false;
    const kept = ranked(sums).slice(0, groups.topK);
    const inside = (expert: number): boolean => {
      const sum = sums[Math.floor(expert / size)];
      return sum !== undefined && kept.includes(sum);
    };
    if (groups.fill === "mask") open = open.filter(inside);
    else {
      for (const expert of upTo(experts)) {
        if (!inside(expert)) candidates[expert] = { value: 0, bound: 0, origin: "0" };
      }
    }
  }
  return rankIsClear(
    open.flatMap((expert) => candidates[expert] ?? []),
    k,
  );
}

function sumOfBest(members: readonly Candidate[], count: number): Candidate {
  const best = ranked(members).slice(0, count);
  const value = best.reduce((sum, one) => sum + one.value, 0);
  const inexact = best.some(({ bound }) => bound > 0);
  const bound =
    best.reduce((sum, one) => sum + one.bound, 0) + (inexact ? 2 ** -22 * Math.abs(value) : 0);
  return { value, bound, origin: best.map(({ origin }) => origin).join(", ") };
}

function ranked(candidates: readonly Candidate[]): Candidate[] {
  const key = ({ value }: Candidate): number => (Number.isNaN(value) ? -Infinity : value);
  return candidates.toSorted((a, b) => (key(a) === key(b) ? 0 : key(b) - key(a)));
}

/** Whether the first `count` places, their order and who is just behind them are certain. */
function rankIsClear(candidates: readonly Candidate[], count: number): boolean {
  const order = ranked(candidates).slice(0, count + 1);
  return order.every((one, place) => {
    const next = order[place + 1];
    if (next === undefined || Number.isNaN(one.value) || Number.isNaN(next.value)) return true;
    if (one.value === next.value && one.origin === next.origin) return true;
    const together = one.bound + next.bound;
    return together === 0 || one.value - next.value > together;
  });
}
