import { ConfigError, ShapeError } from "../errors.ts";
import { formatShape, sameShape } from "../shape.ts";
import type { CapacitySpec } from "./capacity.ts";
import type { RouteContext } from "./routing.ts";
import type { GroupLimit, Renormalization, RouteSpec } from "./spec.ts";

/** Refuses a spec that makes no sense, naming the key. @throws ConfigError */
export function checkRouteSpec(spec: RouteSpec): void {
  const { experts, topK: k, temperature = 1, softcap = 1, scale = 1, renormalize, capacity } = spec;
  demand(isWhole(experts), "experts", experts, COUNT);
  demand(isWhole(k), "topK", k, COUNT);
  demand(k <= experts, "topK", k, `at most ${experts}, the number of experts`);
  oneOf("score", spec.score, ["softmax", "sigmoid", "sqrtSoftplus", "identity"]);
  oneOf("selectBy", spec.selectBy ?? "scores", ["scores", "logits"]);
  oneOf("weight", spec.weight ?? "scores", ["scores", "softmaxOfChosen", "sigmoidOfChosen"]);
  oneOf("site", spec.site ?? "output", ["output", "input"]);
  demand(isPositive(temperature), "temperature", temperature, POSITIVE);
  demand(isPositive(softcap), "softcap", softcap, POSITIVE);
  demand(Number.isFinite(scale), "scale", scale, "a finite number");
  if (spec.groups) checkGroups(spec.groups, experts, k);
  if (renormalize) checkRenormalization(renormalize);
  if (!capacity) return;
  checkCapacity(capacity);
  const { size } = capacity;
  const room = "absolute" in size ? size.absolute : size.factor;
  demand(room > 0, "capacity.size", size, POSITIVE);
  const { when, epsilon } = renormalize ?? {};
  const wanted = "given: a token that lost all its places would divide 0 by 0";
  demand(when !== "after" || epsilon !== undefined, "renormalize.epsilon", epsilon, wanted);
}

/** Refuses a capacity that makes no sense, naming the key. @throws ConfigError */
export function checkCapacity({ size, per, order }: CapacitySpec): void {
  const whole = (key: string, value: number, least: number): void =>
    demand(isWhole(value, least), `capacity.size.${key}`, value, `a whole number from ${least}`);
  oneOf("capacity.per", per, ["batch", "sequence"]);
  const orders = ["position", "choice", "probability", "prioritized", "random"];
  oneOf("capacity.order", order, orders);
  if ("absolute" in size) return whole("absolute", size.absolute, 0);
  const { factor, rounding = "ceil", minimum = 0, multipleOf = 1 } = size;
  const wanted = "a finite number from 0";
  demand(Number.isFinite(factor) && factor >= 0, "capacity.size.factor", factor, wanted);
  oneOf("capacity.size.rounding", rounding, ["ceil", "floor", "round"]);
  whole("minimum", minimum, 0);
  whole("multipleOf", multipleOf, 1);
}

function checkGroups(groups: GroupLimit, experts: number, k: number): void {
  const { count, topK: kept, score, fill } = groups;
  const divides = isWhole(count) && experts % count === 0;
  demand(divides, "groups.count", count, `a divisor of the ${experts} experts`);
  demand(isWhole(kept) && kept <= count, "groups.topK", kept, `from 1 to ${count}`);
  const known = score === "max" || isWhole(score?.top);
  demand(known, "groups.score", score, '"max" or { top: a whole number from 1 }');
  oneOf("groups.fill", fill, ["mask", "zero"]);
  const room = (kept * experts) / count;
  const wanted = `at most ${room}, the experts in ${kept} groups`;
  demand(fill === "zero" || k <= room, "topK", k, wanted);
}

function checkRenormalization(how: Renormalization): void {
  const { p = 1, epsilon = "machine", guard = "add", when = "before" } = how;
  demand(isPositive(p), "renormalize.p", p, POSITIVE);
  const known = epsilon === "machine" || isPositive(epsilon);
  demand(known, "renormalize.epsilon", epsilon, `${POSITIVE}, or "machine"`);
  oneOf("renormalize.guard", guard, ["add", "max"]);
  oneOf("renormalize.when", when, ["before", "after"]);
}

/** Refuses a context that does not fit T tokens. @throws ConfigError, ShapeError */
export function checkRouteContext({ sequences, mask }: RouteContext, tokens: number): void {
  if (sequences) {
    const ascending = sequences.every(
      (offset, index) => isWhole(offset, 0) && offset >= (sequences[index - 1] ?? 0),
    );
    const fits =
      ascending && sequences.length > 1 && sequences[0] === 0 && sequences.at(-1) === tokens;
    demand(fits, "context.sequences", sequences, `ascending from 0 to the ${tokens} tokens`);
  }
  if (!mask || (mask.dtype === "bool" && sameShape(mask.shape, [tokens]))) return;
  throw new ShapeError(
    `context.mask is ${mask.dtype}${formatShape(mask.shape)}, but must be bool[${tokens}]`,
    { shapes: [mask.shape] },
  );
}

const COUNT = "a whole number from 1";
const POSITIVE = "a finite number above 0";

function isWhole(value: unknown, least = 1): boolean {
  return Number.isSafeInteger(value) && (value as number) >= least;
}

function isPositive(value: number): boolean {
  return Number.isFinite(value) && value > 0;
}

function oneOf(key: string, value: string, allowed: readonly string[]): void {
  if (!allowed.includes(value)) demand(false, key, value, allowed.join(", "));
}

function demand(holds: boolean, key: string, value: unknown, wanted: string): void {
  if (holds) return;
  const shown = typeof value === "object" ? JSON.stringify(value) : String(value);
  throw new ConfigError(`routing: ${key} is ${shown}, but must be ${wanted}`, key, value);
}
