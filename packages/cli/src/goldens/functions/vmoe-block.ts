import type { JsonObject } from "@moiety/checkpoints";
import {
  type Backend,
  FormatError,
  type Routing,
  type RoutingLoss,
  type Tensor,
  add,
  leavesOf,
  mixExperts,
  mul,
  slice,
  stack,
  sum,
  takeAlong,
  type TokenChoice,
  valueAndGrad,
  zeros,
} from "@moiety/core";
import { type MlpParams, mlp } from "@moiety/experts";
import { gshardBalance, importanceCv } from "@moiety/losses";
import { expertChoiceRouter, vmoeRouter } from "@moiety/routers";
import type { Precision } from "../budget.ts";
import { type GoldenCase, type Values, isObject, requireTensor } from "../case.ts";
import { countOf } from "../config.ts";
import { type CaseHandler, isFloat32Run, openLedger } from "../handler.ts";
import type { Ledger } from "../ledger.ts";
import { evenSequences, floatTensor, rearranged, takeValues, zeroValues } from "../values.ts";
import { type VmoeGroups, compareItemSlots, compareTokenSlots } from "./vmoe-slots.ts";

interface Given {
  readonly router: { readonly weight: Tensor };
  readonly experts: MlpParams;
  readonly x: Tensor;
}

/** What each parameter is called in the case. */
const NAMES: Readonly<Record<string, string>> = {
  x: "x",
  "router.weight": "weights.Router.dense.kernel",
  "experts.up": "weights.Mlp.Dense_0.kernel",
  "experts.upBias": "weights.Mlp.Dense_0.bias",
  "experts.down": "weights.Mlp.Dense_1.kernel",
  "experts.downBias": "weights.Mlp.Dense_1.bias",
};

/**
 * `vmoe_block`: V-MoE's layer, tokens choosing experts under a capacity or experts choosing tokens,
 * with its metrics, losses, slots and gradients. Losses are of each group, and are added up.
 */
export const vmoeBlock: CaseHandler = async (golden, context) => {
  const { backend, precision } = context;
  const setting = settingOf(golden);
  const { groups } = setting;
  const [, inner = 0, width = 0] = requireTensor(golden, "weights.Mlp.Dense_1.kernel").shape;
  const ledger = openLedger(
    golden,
    context,
    [width, groups.experts, width, inner, groups.length, inner, width],
    (name) => isFloat32Run(name) || name.startsWith("weights.") || ["x", "upstream"].includes(name),
  );
  const given = load(golden, backend, precision);
  try {
    const forward = await takeValues(
      backend.scope(() => run(setting, given).found),
      context,
    );
    const take = (name: string): Values => forward.get(name) ?? zeroValues([0]);
    for (const name of ["output", "router_logits"]) ledger.compare(name, take(name));
    if (setting.experts === "choose") compareItemSlots(ledger, groups, take);
    else compareTokenSlots(ledger, groups, take);
    for (const { name } of setting.losses) ledger.compare(`metric.${name}`, take(name));
    const auxiliary = setting.losses.length > 0 ? take("auxiliary_loss") : zeroValues([]);
    ledger.compare("metric.auxiliary_loss", auxiliary);
    for (const prefix of ["grad", "grad_aux"] as const) {
      if (prefix === "grad_aux" && setting.losses.length === 0) continue;
      const upstream = requireTensor(golden, "upstream");
      const gradients = backend.scope(() => {
        const pulled = floatTensor(backend, upstream, precision, given.x.shape);
        const { grads } = valueAndGrad((traced: Given) => {
          const { output, auxiliary } = run(setting, traced);
          const loss = sum(mul(output, pulled));
          return prefix === "grad" ? loss : add(loss, sum(auxiliary));
        })(given);
        return Object.fromEntries(leavesOf(grads).map(({ path, leaf }) => [path, leaf as Tensor]));
      });
      for (const [path, values] of await takeValues(gradients, context)) {
        const own = path === "router.weight" ? transposed(values) : values;
        compareGradient(ledger, golden, `${prefix}.${NAMES[path]}`, own);
      }
    }
  } finally {
    for (const { leaf } of leavesOf(given)) if ("dispose" in leaf) leaf.dispose();
  }
  return ledger.close();
};

interface Setting {
  /** Whether experts choose tokens, or are chosen by them. */
  readonly experts: "choose" | "chosen";
  readonly groups: VmoeGroups;
  /** Losses of one group, with their names and factors. */
  readonly losses: readonly { readonly name: string; readonly loss: RoutingLoss }[];
  route(params: Given["router"], x: Tensor): Routing;
}

function settingOf(golden: GoldenCase): Setting {
  const { config } = golden;
  const router = requireObject(config, "router");
  const dispatcher = requireObject(router, "dispatcher");
  if (router["noise_std"] !== 0) {
    throw new FormatError(
      "case.json: config.router.noise_std is not 0, but no noise is recorded",
      0,
    );
  }
  const [count = 0, length = 0, width = 0] = requireTensor(golden, "x").shape;
  const experts = countOf(config, "num_experts");
  const context = { sequences: evenSequences(count, length) };
  const capacityFactor = Number(dispatcher["capacity_factor"]);
  const multiple = dispatcher["capacity_multiple_of"];
  const multipleOf = typeof multiple === "number" ? Math.max(multiple, 1) : 4;
  const base = { hiddenSize: width, numExperts: experts };
  const groups = { count, length, experts };
  if (router["name"] === "NoisyTopItemsPerExpertRouter") {
    const capacity = { factor: capacityFactor, multipleOf };
    const choosing = expertChoiceRouter({ ...base, capacity, per: "sequence" });
    return {
      experts: "choose",
      groups: { ...groups, topK: 1, batchPriority: false },
      losses: [],
      route: (params, x) => choosing.route(params, {}, x, context),
    };
  }
  const topK = countOf(router, "num_selected_experts");
  const batchPriority = dispatcher["batch_priority"] === true;
  const ceilOrRound = dispatcher["capacity_ceil_or_round"] === "round" ? "round" : "ceil";
  const chosen = vmoeRouter({
    ...base,
    numSelectedExperts: topK,
    noiseStd: 0,
    capacityFactor,
    ceilOrRound,
    multipleOf,
    batchPriority,
  });
  const weightOf = (key: string): number => Number(router[key] ?? 0);
  return {
    experts: "chosen",
    groups: { ...groups, topK, batchPriority },
    losses: [
      {
        name: "gshard_loss",
        loss: gshardBalance({ coefficient: weightOf("gshard_loss_weight"), shares: "float32" }),
      },
      {
        name: "importance_loss",
        loss: importanceCv({
          coefficient: weightOf("importance_loss_weight"),
          of: "scores",
          epsilon: 0,
        }),
      },
    ],
    route: (params, x) => chosen.route(params, {}, x, context),
  };
}

/** The layer, what is recorded of its routing, and the weighted losses of each group `[G]`. */
function run(
  { groups, losses, route }: Setting,
  { router, experts: params, x }: Given,
): { readonly found: Record<string, Tensor>; readonly output: Tensor; readonly auxiliary: Tensor } {
  const routing = route(router, x);
  const [experts = 0, width = 0, inner = 0] = params.up.shape;
  const sizes = { experts, hiddenSize: width, intermediateSize: inner };
  const bank = mlp({ ...sizes, activation: "geluTanh", bias: true, transposed: true });
  const output = mixExperts(bank, params, x, routing);
  const values = losses.map(({ name, loss }) => {
    const parts = groupsOf(routing, groups).map((group) => loss.evaluate([group]));
    return { name, loss, value: stack(parts) };
  });
  const auxiliary = values
    .map(({ loss, value }) => mul(value, loss.coefficient))
    .reduce((total, value) => add(total, value), zeros(x.backend, [groups.count], x.dtype));
  const found = { ...choicesOf(routing), output, router_logits: routing.logits };
  const named = Object.fromEntries(values.map(({ name, value }) => [name, value]));
  return { found: { ...found, ...named, auxiliary_loss: auxiliary }, output, auxiliary };
}

/** A routing's choices, and the gates of those that were dropped, too. */
function choicesOf(routing: Routing): Record<string, Tensor> {
  if (routing.kind === "expert-choice") {
    const { tokens, weights } = routing;
    return { tokens, weights };
  }
  const { indices, selected, outputWeights, scores } = requireTokenChoice(routing);
  const gates = takeAlong(scores, selected, { axis: 1 });
  return { indices, selected, weights: outputWeights, gates };
}

/** The routing of each group by itself. */
function groupsOf(routing: Routing, { count, length }: VmoeGroups): TokenChoice[] {
  const whole = requireTokenChoice(routing);
  return Array.from({ length: count }, (_, group) => {
    const cut = (of: Tensor): Tensor =>
      slice(of, { starts: [group * length, 0], sizes: [length, of.shape[1] ?? 0] });
    return {
      ...whole,
      sequences: undefined,
      logits: cut(whole.logits),
      scores: cut(whole.scores),
      indices: cut(whole.indices),
      selected: cut(whole.selected),
      outputWeights: cut(whole.outputWeights),
    };
  });
}

function requireTokenChoice(routing: Routing): TokenChoice {
  if (routing.kind === "token-choice") return routing;
  throw new FormatError(`the case is of tokens that choose, not of ${routing.kind}`, 0);
}

function load(golden: GoldenCase, backend: Backend, precision: Precision): Given {
  const weight = (path: string): Tensor =>
    floatTensor(backend, requireTensor(golden, NAMES[path] ?? path), precision);
  const x = requireTensor(golden, "x");
  const width = x.shape.at(-1) ?? 1;
  const kernel = requireTensor(golden, NAMES["router.weight"] ?? "");
  return {
    router: { weight: floatTensor(backend, transposed(kernel), precision) },
    experts: {
      up: weight("experts.up"),
      upBias: weight("experts.upBias"),
      down: weight("experts.down"),
      downBias: weight("experts.downBias"),
    },
    x: floatTensor(backend, x, precision, [x.data.length / width, width]),
  };
}

/** The router's kernel is `[H, E]` in the case, and its weight `[E, H]` here. */
function transposed(values: Values): Values {
  const [rows = 0, columns = 0] = values.shape;
  return rearranged(values, [columns, rows], (from) =>
    from.map((_, at) => from[(at % rows) * columns + Math.floor(at / rows)] ?? Number.NaN),
  );
}

/** A gradient that was not recorded with losses is what it is without them. */
function compareGradient(ledger: Ledger, { tensors }: GoldenCase, name: string, own: Values): void {
  const plain = name.replace("grad_aux.", "grad.");
  if (tensors.has(name) || !tensors.has(plain)) ledger.compare(name, own);
  else ledger.compareValues(name, tensors.get(plain) ?? own, own);
}

function requireObject(config: JsonObject, key: string): JsonObject {
  const value = config[key];
  if (isObject(value)) return value;
  throw new FormatError(`case.json: config.${key} is ${String(value)}, not an object`, 0);
}
