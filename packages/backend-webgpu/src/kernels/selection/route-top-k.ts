import type { RouteAttributes } from "@moiety/core";
import type { Kernel } from "../../kernel.ts";
import { type Operand, type Param, read, u32, write } from "../../program.ts";
import { LOWEST } from "../model/functions.ts";
import { laneSum, planRows } from "../model/rows.ts";
import { bestText } from "./best.ts";
import { orderText } from "./keys.ts";
import { type RoutePlan, divisorText, normTerm, planRoute, stageText } from "./route-text.ts";

/** `routeTopK`, in one dispatch: a token for each row, by one invocation or a workgroup. */
export const routeTopK: Kernel = (call) => {
  const logits = call.input(0);
  const [bias, mask] = [call.optional(1), call.optional(2)];
  const spec = call.attributes<RouteAttributes>();
  const [tokens = 0, experts = 0] = logits.shape;
  const outputs = [call.make(0), call.make(1), call.make(2)] as const;
  const plan = planRoute(spec, experts);
  const rows = planRows(call.context, experts);
  const groups = groupsOf(spec, experts);
  const operands: Record<string, Operand> = {
    logits: read(logits.handle, "f32"),
    scores: write(outputs[0], "f32"),
    indices: write(outputs[1], "u32"),
    weights: write(outputs[2], "f32"),
  };
  if (bias) operands["bias"] = read(bias.handle, "f32");
  if (mask) operands["mask"] = read(mask.handle, "u32");
  const selectBy = spec.selectBy ?? "scores";
  call.dispatch(
    {
      name: "routeTopK",
      variant: `${rows.lanes},${plan.variant},${selectBy},${groups?.variant ?? ""}`,
      workgroupSize: rows.workgroupSize,
      operands,
      params: { ...plan.params, ...groups?.params, rows: u32(tokens) },
      text: () => ({
        declarations:
          rows.declarations +
          stageText(plan) +
          orderText("f32") +
          bestText(rows.lanes) +
          candidateText(selectBy, bias !== undefined, mask !== undefined, groups, rows.lanes),
        main: `${rows.begin}
let base = row * params.experts;
${scoresText(plan)}
row_settle();
${groups ? groupsText(rows.lanes) : ""}
${CHOOSE}
if (lane != 0u) { return; }
${weightsText(plan)}`,
      }),
    },
    rows.extent(tokens),
  );
  return outputs;
};

interface GroupPlan {
  readonly fill: "mask" | "zero";
  /** A constant of the text, since arrays have it as length. */
  readonly count: number;
  readonly variant: string;
  readonly params: Readonly<Record<string, Param>>;
}

function groupsOf({ groups }: RouteAttributes, experts: number): GroupPlan | undefined {
  if (!groups) return undefined;
  const { count, topK, score, fill } = groups;
  const size = experts / count;
  return {
    fill,
    count,
    variant: `${fill}-${count}`,
    params: {
      group_size: u32(size),
      group_kept: u32(topK),
      group_top: u32(score === "max" ? 1 : Math.min(score.top, size)),
    },
  };
}

/** Scores of all experts; each lane reads back only what it has written itself. */
function scoresText({ score }: RoutePlan): string {
  if (score !== "softmax") {
    return `
for (var i = lane; i < params.experts; i += LANES) {
  store_scores(base + i, score_of(squash(load_logits(base + i)), 0.0, 1.0));
}`;
  }
  return `${softmaxText("store_scores(base + i, raised);")}
for (var i = lane; i < params.experts; i += LANES) {
  store_scores(base + i, load_scores(base + i) / sum);
}`;
}

/** WGSL: `greatest` and `sum`, the parts of a softmax over a token's logits. */
export function softmaxText(keep = ""): string {
  return `
var top = ${LOWEST};
for (var i = lane; i < params.experts; i += LANES) {
  let z = squash(load_logits(base + i));
  if (!is_nan(z)) { top = max(top, z); }
}
let greatest = row_max(lane, top);
${laneSum("part_sum", "params.experts", "raised", {
  before: `let raised = exponential(squash(load_logits(base + i)) - greatest); ${keep}`,
})}
let sum = row_sum(lane, part_sum);`;
}

/** WGSL: `compared(base, i)`, what selection compares, and `key_of(base, i)`: 0 cannot be chosen. */
function candidateText(
  selectBy: "scores" | "logits",
  biased: boolean,
  masked: boolean,
  groups: GroupPlan | undefined,
  lanes: number,
): string {
  const value = selectBy === "scores" ? "load_scores(base + i)" : "squash(load_logits(base + i))";
  const space = lanes === 1 ? "private" : "workgroup";
  const arrays = groups
    ? `const GROUPS = ${groups.count}u;
var<${space}> group_keys: array<u32, GROUPS>;
var<${space}> group_open: array<u32, GROUPS>;
`
    : "";
  const closed = groups
    ? `if (group_open[i / params.group_size] == 0u) {
    ${groups.fill === "mask" ? "return 0u;" : "value = 0.0;"}
  }`
    : "";
  return `${arrays}
fn compared(base: u32, i: u32) -> f32 {
  return ${value}${biased ? " + load_bias(i)" : ""};
}
fn value_key(value: f32) -> u32 { return max(order_of(bitcast<u32>(value)), 1u); }
fn key_of(base: u32, i: u32) -> u32 {
  ${masked ? "if (load_mask(base + i) == 0u) { return 0u; }" : ""}
  var value = compared(base, i);
  ${closed}
  return value_key(value);
}
`;
}

/** The sum of a group's best, best first; then which groups are among the best. */
function groupsText(lanes: number): string {
  const barrier = lanes === 1 ? "" : "workgroupBarrier();";
  return `
for (var g = lane; g < GROUPS; g += LANES) {
  var last = Choice(0xffffffffu, 0u);
  var total = 0.0;
  for (var n = 0u; n < params.group_top; n++) {
    var found = NO_CHOICE;
    for (var i = g * params.group_size; i < (g + 1u) * params.group_size; i++) {
      let here = Choice(value_key(compared(base, i)), i);
      if (above(last, here) && above(here, found)) { found = here; }
    }
    total += compared(base, found.index);
    last = found;
  }
  group_keys[g] = value_key(total);
}
${barrier}
for (var g = lane; g < GROUPS; g += LANES) {
  let own = Choice(group_keys[g], g);
  var rank = 0u;
  for (var h = 0u; h < GROUPS; h++) {
    if (above(Choice(group_keys[h], h), own)) { rank += 1u; }
  }
  group_open[g] = select(0u, 1u, rank < params.group_kept);
}
${barrier}`;
}

/** Each round finds what comes next behind the round before. */
const CHOOSE = `
var last = Choice(0xffffffffu, 0u);
for (var round = 0u; round < params.k; round++) {
  var found = NO_CHOICE;
  for (var i = lane; i < params.experts; i += LANES) {
    let here = Choice(key_of(base, i), i);
    if (here.key > 0u && above(last, here) && above(here, found)) { found = here; }
  }
  last = best_of(lane, found);
  if (lane == 0u) {
    store_indices(row * params.k + round, min(last.index, params.experts));
  }
}`;

/** Weights of the choices, by one lane, in the order of the choices. */
function weightsText({ weight, norm }: RoutePlan): string {
  const divide = norm
    ? `
var terms = 0.0;
for (var j = 0u; j < params.k; j++) { terms += ${normTerm(norm, "load_weights(first + j)")}; }
${divisorText(norm)}
for (var j = 0u; j < params.k; j++) { store_weights(first + j, load_weights(first + j) / divisor); }`
    : "";
  return `
let first = row * params.k;
${weight === "softmaxOfChosen" ? chosenSoftmaxText() : ""}
for (var j = 0u; j < params.k; j++) {
  let e = load_indices(first + j);
  var value = 0.0;
  if (e < params.experts) { value = ${CHOSEN[weight]}; }
  store_weights(first + j, value);
}
${divide}
for (var j = 0u; j < params.k; j++) {
  store_weights(first + j, load_weights(first + j) * params.scale);
}`;
}

const CHOSEN = {
  scores: "load_scores(base + e)",
  sigmoidOfChosen: "logistic(squash(load_logits(base + e)))",
  softmaxOfChosen: "exponential(squash(load_logits(base + e)) - chosen_top) / chosen_sum",
} as const;

/** WGSL: `chosen_top` and `chosen_sum`, the parts of a softmax over the logits of the chosen. */
export function chosenSoftmaxText(): string {
  return `
var chosen_top = ${LOWEST};
var chosen_sum = 0.0;
for (var j = 0u; j < params.k; j++) {
  let e = load_indices(first + j);
  if (e >= params.experts) { continue; }
  let z = squash(load_logits(base + e));
  if (!is_nan(z)) { chosen_top = max(chosen_top, z); }
}
for (var j = 0u; j < params.k; j++) {
  let e = load_indices(first + j);
  if (e >= params.experts) { continue; }
  chosen_sum += exponential(squash(load_logits(base + e)) - chosen_top);
}`;
}
