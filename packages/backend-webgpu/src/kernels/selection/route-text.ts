import type { RouteAttributes } from "@moiety/core";
import { type Param, f32, u32 } from "../../program.ts";
import type { MathFunction } from "../elementwise/math.ts";
import { functions } from "../model/functions.ts";

/** How a spec divides chosen weights by their norm. */
export interface NormPlan {
  /** 1, or any other order. */
  readonly order: "sum" | "power";
  readonly guard: "none" | "add" | "max";
}

/** What of a spec shapes the text of its kernels. All numbers are parameters. */
export interface RoutePlan {
  readonly score: RouteAttributes["score"];
  readonly weight: NonNullable<RouteAttributes["weight"]>;
  readonly softcap: boolean;
  readonly norm: NormPlan | undefined;
  readonly params: Readonly<Record<string, Param>>;
  /** Names all of this. */
  readonly variant: string;
}

/** Reads a spec. Weights that are normalised after capacity leave here raw, and are scaled there. */
export function planRoute(spec: RouteAttributes, experts: number): RoutePlan {
  const { score, softcap, renormalize, topK: k } = spec;
  const weight = spec.weight ?? "scores";
  const later = renormalize?.when === "after";
  const single = renormalize?.skipSingle === true && k === 1;
  const norm = renormalize && !later && !single ? normOf(renormalize) : undefined;
  const { epsilon = 0, p = 1 } = renormalize ?? {};
  const params = {
    experts: u32(experts),
    k: u32(k),
    temperature: f32(spec.temperature ?? 1),
    softcap: f32(softcap ?? 1),
    scale: f32(later ? 1 : (spec.scale ?? 1)),
    epsilon: f32(epsilon === "machine" ? 2 ** -23 : epsilon),
    p: f32(p),
  };
  const normText = norm ? `${norm.order}-${norm.guard}` : "raw";
  return {
    score,
    weight,
    softcap: softcap !== undefined,
    norm,
    params,
    variant: `${score},${weight},${softcap === undefined ? "plain" : "capped"},${normText}`,
  };
}

function normOf({
  p = 1,
  epsilon,
  guard = "add",
}: NonNullable<RouteAttributes["renormalize"]>): NormPlan {
  return { order: p === 1 ? "sum" : "power", guard: epsilon === undefined ? "none" : guard };
}

/** WGSL: `squash(x)`, temperature and softcap, and `score_of(z, greatest, sum)`. */
export function stageText({ score, weight, softcap, norm }: RoutePlan): string {
  const names: MathFunction[] = ["exponential"];
  if (softcap) names.push("hyperbolicTangent");
  if (score === "sigmoid" || score === "sqrtSoftplus" || weight === "sigmoidOfChosen") {
    names.push("logistic");
  }
  if (score === "sqrtSoftplus") names.push("softplus");
  if (norm?.order === "power") names.push("power");
  const warm = "x / params.temperature";
  const capped = `hyperbolicTangent((${warm}) / params.softcap) * params.softcap`;
  return `${functions(...names)}
fn squash(x: f32) -> f32 { return ${softcap ? capped : warm}; }
fn score_of(z: f32, greatest: f32, sum: f32) -> f32 { return ${SCORES[score]}; }
`;
}

const SCORES: Readonly<Record<RouteAttributes["score"], string>> = {
  softmax: "exponential(z - greatest) / sum",
  sigmoid: "logistic(z)",
  sqrtSoftplus: "sqrt(softplus(z))",
  identity: "z",
};

/** WGSL: the term of a norm that comes from a weight. */
export function normTerm({ order }: NormPlan, weight: string): string {
  return order === "sum" ? weight : `power(${weight}, params.p)`;
}

/** WGSL: `norm`, and `divisor` out of it, from the sum `terms` of the norm's terms. */
export function divisorText({ order, guard }: NormPlan): string {
  const guarded = {
    none: "norm",
    add: "norm + params.epsilon",
    // NaN loses to every number.
    max: "select(max(norm, params.epsilon), params.epsilon, is_nan(norm))",
  }[guard];
  return `
let norm = ${order === "sum" ? "terms" : "power(terms, 1.0 / params.p)"};
let divisor = ${guarded};`;
}
