import { ConfigError, ShapeError } from "../errors.ts";
import { formatShape } from "../shape.ts";
import { checkCapacity } from "./capacity.ts";
import type { RouteContext } from "./routing.ts";
import type { GroupLimit, Renormalization, RouteSpec } from "./spec.ts";

const CHOICES = {
  score: ["softmax", "sigmoid", "sqrtSoftplus", "identity"],
  selectBy: ["scores", "logits"],
  weight: ["scores", "softmaxOfChosen", "sigmoidOfChosen"],
  site: ["output", "input"],
} as const;

/** Refuses a spec that makes no sense, naming the key. @throws ConfigError */
export function checkRouteSpec(spec: RouteSpec): void {
  const { experts, topK: k, renormalize, capacity } = spec;
  if (!isCount(experts)) refuse("experts", experts, "it must be a whole number from 1");
  if (!isCount(k)) refuse("topK", k, "it must be a whole number from 1");
  if (k > experts) refuse("topK", k, `there are only ${experts} experts`);
  for (const key of Object.keys(CHOICES) as (keyof typeof CHOICES)[]) {
    const allowed: readonly string[] = CHOICES[key];
    const value = spec[key];
    if (value === undefined && key !== "score") continue;
    if (!allowed.includes(value as string)) refuse(key, value, `it must be ${allowed.join(", ")}`);
  }
  for (const key of ["temperature", "softcap"] as const) {
    const value = spec[key];
    if (value !== undefined && !isPositive(value)) refuse(key, value, "it must be above 0");
  }
  if (spec.scale !== undefined && !Number.isFinite(spec.scale)) {
    refuse("scale", spec.scale, "it must be a finite number");
  }
  if (spec.groups) checkGroups(spec.groups, experts, k);
  if (renormalize) checkRenormalization(renormalize);
  if (!capacity) return;
  checkCapacity(capacity);
  if (renormalize?.when === "after" && renormalize.epsilon === undefined) {
    refuse(
      "renormalize.epsilon",
      undefined,
      "a token that lost all its places would divide 0 by 0",
    );
  }
}

function checkGroups(groups: GroupLimit, experts: number, k: number): void {
  const { count, topK: kept, score, fill } = groups;
  if (!isCount(count) || experts % count !== 0) {
    refuse("groups.count", count, `it must divide the ${experts} experts`);
  }
  if (!isCount(kept) || kept > count) refuse("groups.topK", kept, `it must be 1…${count}`);
  if (score !== "max" && !isCount(score?.top)) {
    refuse("groups.score", score, 'it must be "max" or { top: a whole number from 1 }');
  }
  if (fill !== "mask" && fill !== "zero") refuse("groups.fill", fill, "it must be mask or zero");
  const size = experts / count;
  if (fill === "mask" && kept * size < k) {
    refuse("topK", k, `${kept} groups of ${size} experts have too few`);
  }
}

function checkRenormalization({ p, epsilon, guard, when }: Renormalization): void {
  if (p !== undefined && !isPositive(p)) refuse("renormalize.p", p, "it must be above 0");
  const fits = epsilon === undefined || epsilon === "machine" || isPositive(epsilon);
  if (!fits) refuse("renormalize.epsilon", epsilon, 'it must be above 0 or "machine"');
  if (guard !== undefined && guard !== "add" && guard !== "max") {
    refuse("renormalize.guard", guard, "it must be add or max");
  }
  if (when !== undefined && when !== "before" && when !== "after") {
    refuse("renormalize.when", when, "it must be before or after");
  }
}

/** Refuses a context that does not fit T tokens. @throws ConfigError, ShapeError */
export function checkRouteContext({ sequences, mask }: RouteContext, tokens: number): void {
  if (sequences) {
    const ascending = sequences.every(
      (offset, index) => Number.isInteger(offset) && offset >= (sequences[index - 1] ?? 0),
    );
    if (!ascending || sequences.length < 2 || sequences[0] !== 0 || sequences.at(-1) !== tokens) {
      refuse("context.sequences", sequences, `it must ascend from 0 to the ${tokens} tokens`);
    }
  }
  if (mask && (mask.dtype !== "bool" || mask.shape.length !== 1 || mask.shape[0] !== tokens)) {
    throw new ShapeError(
      `context.mask is ${mask.dtype}${formatShape(mask.shape)}, but must be bool[${tokens}]`,
      { shapes: [mask.shape] },
    );
  }
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 1;
}

function isPositive(value: number): boolean {
  return Number.isFinite(value) && value > 0;
}

function refuse(key: string, value: unknown, why: string): never {
  throw new ConfigError(`routing: ${key} is ${JSON.stringify(value)}, but ${why}`, key, value);
}
