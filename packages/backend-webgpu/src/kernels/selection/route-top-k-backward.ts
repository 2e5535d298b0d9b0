import type { RouteAttributes } from "@moiety/core";
import type { Kernel } from "../../kernel.ts";
import { type Operand, read, u32, write } from "../../program.ts";
import { laneSum, planRows } from "../model/rows.ts";
import {
  type NormPlan,
  type RoutePlan,
  divisorText,
  normTerm,
  planRoute,
  stageText,
} from "./route-text.ts";
import { chosenSoftmaxText, softmaxText } from "./route-top-k.ts";

/**
 * `routeTopKBackward`, in one dispatch, the choice as it was made. Every lane walks the few choices
 * itself and finds the same sums; experts are shared out among the lanes.
 */
export const routeTopKBackward: Kernel = (call) => {
  const [logits, indices] = [call.input(0), call.input(1)];
  const [ofScores, ofWeights] = [call.optional(2), call.optional(3)];
  const [tokens = 0, experts = 0] = logits.shape;
  const plan = planRoute(call.attributes<RouteAttributes>(), experts);
  const rows = planRows(call.context, experts);
  const gradient = call.make(0);
  const operands: Record<string, Operand> = {
    logits: read(logits.handle, "f32"),
    indices: read(indices.handle, "u32"),
    y: write(gradient, "f32"),
  };
  if (ofScores) operands["score_gradient"] = read(ofScores.handle, "f32");
  if (ofWeights) operands["weight_gradient"] = read(ofWeights.handle, "f32");
  const weighs = ofWeights !== undefined;
  call.dispatch(
    {
      name: "routeTopKBackward",
      variant: `${rows.lanes},${plan.variant}`,
      workgroupSize: rows.workgroupSize,
      operands,
      params: { ...plan.params, rows: u32(tokens) },
      text: () => ({
        declarations: rows.declarations + stageText(plan) + rawText(plan),
        main: `${rows.begin}
let base = row * params.experts;
let first = row * params.k;
${plan.score === "softmax" ? softmaxText() : "let greatest = 0.0; let sum = 1.0;"}
${weighs ? weightSlopesText(plan) : ""}
for (var i = lane; i < params.experts; i += LANES) {
  var slope = ${ofScores ? "load_score_gradient(base + i)" : "0.0"};
  ${weighs && plan.weight === "scores" ? `${chosenText("slope += raw_slope;", plan)}` : ""}
  store_y(base + i, slope);
}
${plan.score === "softmax" ? softmaxDot() : ""}
for (var i = lane; i < params.experts; i += LANES) {
  let x = load_logits(base + i);
  let z = squash(x);
  let slope = load_y(base + i);
  var result = ${SLOPES[plan.score]};
  ${weighs && plan.weight !== "scores" ? chosenText(CHOSEN_SLOPES[plan.weight], plan) : ""}
  ${plan.softcap ? CAP_SLOPE : ""}
  store_y(base + i, result / params.temperature);
}`,
      }),
    },
    rows.extent(tokens),
  );
  return [gradient];
};

/** WGSL: `raw_of(z, greatest, sum)`, a choice's weight before the division by the norm. */
function rawText({ weight }: RoutePlan): string {
  const raw = {
    scores: "score_of(z, greatest, sum)",
    sigmoidOfChosen: "logistic(z)",
    softmaxOfChosen: "exponential(z - greatest) / sum",
  }[weight];
  return `fn raw_of(z: f32, greatest: f32, sum: f32) -> f32 { return ${raw}; }\n`;
}

const rawOf = (weight: RoutePlan["weight"]): string =>
  weight === "softmaxOfChosen" ? "raw_of(z, chosen_top, chosen_sum)" : "raw_of(z, greatest, sum)";

/** Walks the choices; `body` sees choice j, its expert e, its logit z, its raw weight and gradient. */
function eachChoice(body: string, { weight }: RoutePlan): string {
  return `
for (var j = 0u; j < params.k; j++) {
  let e = load_indices(first + j);
  if (e >= params.experts) { continue; }
  let z = squash(load_logits(base + e));
  let raw = ${rawOf(weight)};
  let given = load_weight_gradient(first + j) * params.scale;
  ${body}
}`;
}

/** WGSL: what all choices share: `divisor`, the terms of the norm, and sums over the choices. */
function weightSlopesText(plan: RoutePlan): string {
  const { norm, weight } = plan;
  const softmax = weight === "softmaxOfChosen";
  const total = softmax
    ? `var chosen_dot = 0.0;
${eachChoice(`${rawSlopeText(norm)} chosen_dot += raw_slope * raw;`, plan)}`
    : "";
  return `
${softmax ? chosenSoftmaxText() : ""}
${norm ? normSlopesText(norm, plan) : ""}
${total}`;
}

function normSlopesText(norm: NormPlan, plan: RoutePlan): string {
  const sums = eachChoice(
    `terms += ${normTerm(norm, "raw")};
  along += given * raw;`,
    plan,
  );
  const counts = norm.guard === "max" ? "select(0.0, 1.0, norm >= params.epsilon)" : "1.0";
  const outer = norm.order === "sum" ? "1.0" : "power(terms, 1.0 / params.p - 1.0)";
  return `
var terms = 0.0;
var along = 0.0;
${sums}
${divisorText(norm)}
let norm_slope = along / divisor / divisor * ${counts} * ${outer};`;
}

/** WGSL: `raw_slope`, the gradient of a choice's raw weight. */
function rawSlopeText(norm: NormPlan | undefined): string {
  if (!norm) return "let raw_slope = given;";
  const inner = norm.order === "sum" ? "1.0" : "power(raw, params.p - 1.0)";
  return `let raw_slope = given / divisor - norm_slope * ${inner};`;
}

/** WGSL: does something with the choice that took expert i, if there is one. */
function chosenText(body: string, plan: RoutePlan): string {
  return eachChoice(`if (e != i) { continue; }\n  ${rawSlopeText(plan.norm)}\n  ${body}`, plan);
}

function softmaxDot(): string {
  return `${laneSum(
    "part_dot",
    "params.experts",
    "score_of(squash(load_logits(base + i)), greatest, sum) * load_y(base + i)",
  )}
let dot = row_sum(lane, part_dot);`;
}

/** Gradient of a score's logit. Far below 0 the root of softplus is e^(z/2), which does not divide by 0. */
const SLOPES: Readonly<Record<RoutePlan["score"], string>> = {
  softmax: "score_of(z, greatest, sum) * (slope - dot)",
  sigmoid: "slope * logistic(z) * logistic(-z)",
  sqrtSoftplus:
    "slope * 0.5 * select(logistic(z) / sqrt(softplus(max(z, -30.0))), exponential(0.5 * z), z < -30.0)",
  identity: "slope",
};

const CHOSEN_SLOPES = {
  sigmoidOfChosen: "result += raw_slope * raw * logistic(-z);",
  softmaxOfChosen: "result += raw * (raw_slope - chosen_dot);",
} as const;

const CAP_SLOPE = `let bent = hyperbolicTangent(x / params.temperature / params.softcap);
  result *= 1.0 - bent * bent;`;
