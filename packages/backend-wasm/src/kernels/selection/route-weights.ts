import type { Body } from "../../emit/body.ts";
import { F32, I32 } from "../../emit/scalars.ts";
import { F32x4 } from "../../emit/vectors.ts";
import { pow4, sigmoid4 } from "../functions/index.ts";
import { storeLanes, wordAt } from "../reduction/lanes.ts";
import { softmaxRow } from "../reduction/softmax-row.ts";
import { GUARDS, NORMS, type RouteArguments, WEIGHTS } from "./route-plan.ts";
import { eachFour } from "./route-scores.ts";

/** Rows of one token. */
export interface ChosenRows {
  /** `[E]`, after temperature and softcap. */
  readonly logits: I32;
  /** `[E]`. */
  readonly scores: I32;
  /** `[k]`; from E on there is no expert. */
  readonly indices: I32;
}

/** Visits the choices of a token that have an expert. */
export function eachChoice(
  body: Body,
  { k, experts }: RouteArguments,
  indices: I32,
  visit: (choice: I32, expert: I32) => void,
): void {
  body.for(0, k, 1, (choice) => {
    const expert = body.let(I32.load(wordAt(indices, choice)));
    body.if(expert.ltU(experts), () => visit(choice, expert));
  });
}

/** The weights of the chosen before they are normalised, 0 where there is no expert. */
export function weighRow(body: Body, args: RouteArguments, rows: ChosenRows, to: I32): void {
  const { k, experts, weight } = args;
  const { logits, scores, indices } = rows;
  const isScore = body.let(weight.eq(WEIGHTS.scores));
  const source = body.let(scores.select(isScore, logits));
  const none = body.let(F32.const(0).select(isScore, F32.const(Number.NEGATIVE_INFINITY)));
  body.for(0, k, 1, (choice) => {
    const expert = body.let(I32.load(wordAt(indices, choice)));
    const value = body.let(none);
    body.if(expert.ltU(experts), () => body.set(value, F32.load(wordAt(source, expert))));
    body.store(wordAt(to, choice), value);
  });
  body.if(weight.eq(WEIGHTS.softmaxOfChosen), () => {
    // The first choice is there if any is.
    body.if(
      I32.load(indices).ltU(experts),
      () => softmaxRow(body, { from: to, count: k }, to),
      () => body.fillBytes(to, 0, k.shl(2)),
    );
  });
  body.if(weight.eq(WEIGHTS.sigmoidOfChosen), () => {
    eachFour(body, k, (at, left) => {
      const y = body.let(sigmoid4(body, F32x4.load(to.add(at))));
      storeLanes(body, to.add(at), y, left);
    });
  });
}

/** One power. */
export function power(body: Body, base: F32, exponent: F32): F32 {
  return pow4(body, F32x4.splat(base), F32x4.splat(exponent)).lane(0);
}

/** The norm of weights, what it is made of, and what they are divided by. */
export interface Norm {
  readonly terms: F32;
  readonly norm: F32;
  readonly divisor: F32;
}

/** The norm of raw weights, in the order of the choices. */
export function normOfRow(body: Body, args: RouteArguments, weights: I32): Norm {
  const isPower = body.let(args.norm.eq(NORMS.power));
  const terms = body.let(F32.const(0));
  const norm = body.let(F32.const(0));
  // The root comes last, so that the code of powers is there once.
  body.for(0, body.let(args.k.add(isPower)), 1, (choice) => {
    const isTerm = body.let(choice.ltU(args.k));
    const value = body.let(terms);
    body.if(isTerm, () => body.set(value, F32.load(wordAt(weights, choice))));
    body.if(isPower, () => {
      body.set(value, power(body, value, args.power.select(isTerm, args.root)));
    });
    body.if(
      isTerm,
      () => body.set(terms, terms.add(value)),
      () => body.set(norm, value),
    );
  });
  body.if(isPower.not(), () => body.set(norm, terms));
  const divisor = body.let(norm);
  body.if(args.guard.eq(GUARDS.add), () => body.set(divisor, norm.add(args.epsilon)));
  // NaN loses to every number.
  body.if(args.guard.eq(GUARDS.max), () => {
    body.set(divisor, norm.select(norm.gt(args.epsilon), args.epsilon));
  });
  return { terms, norm, divisor };
}

/** Divides weights by their norm, where the spec says so, and scales them. */
export function finishWeights(body: Body, args: RouteArguments, weights: I32): void {
  const divisor = body.let(F32.const(1));
  body.if(args.norm, () => body.set(divisor, normOfRow(body, args, weights).divisor));
  body.for(0, args.k, 1, (choice) => {
    const place = wordAt(weights, choice);
    body.store(place, F32.load(place).div(divisor).mul(args.scale));
  });
}
