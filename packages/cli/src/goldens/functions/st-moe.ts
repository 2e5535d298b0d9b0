import type { JsonObject } from "@moiety/checkpoints";
import {
  type FfnDescriptor,
  FormatError,
  type Tensor,
  type TokenChoice,
  add,
  fusedFfn,
  leavesOf,
  mul,
  sum,
  valueAndGrad,
  zeros,
} from "@moiety/core";
import { stMoeBalance, zLoss } from "@moiety/losses";
import { type StMoeOptions, stMoeRouter } from "@moiety/routers";
import { type GoldenCase, type Values, requireTensor } from "../case.ts";
import { countOf } from "../config.ts";
import { type CaseHandler, type RunContext, isFloat32Run, openLedger } from "../handler.ts";
import type { Ledger } from "../ledger.ts";
import { evenSequences, floatTensor, rearranged, takeValues, zeroValues } from "../values.ts";
import { nonZero, scatterSlots, slotsOf } from "./slots.ts";

/** Leaves of the layer, by what follows `experts.experts.N.` in the source. */
const EXPERT_LEAVES = {
  up: "net.0.weight",
  upBias: "net.0.bias",
  scale: "net.1.mult_bias",
  down: "net.2.weight",
  downBias: "net.2.bias",
} as const;

const GATE = "gate.to_gates.weight";

type ExpertLeaf = keyof typeof EXPERT_LEAVES;

/** Parameters: the gate `[E, H]` and, of each expert, both projections and the scale between them. */
type Params = Readonly<Record<ExpertLeaf | "gate" | "x", Tensor>>;

/** GEGLU as lucidrains has it: the first half is multiplied by the exact gelu of the second. */
const GEGLU: FfnDescriptor = {
  activation: "gelu",
  gate: { packing: "concatenated", first: "up" },
};

/** A case, read. */
interface Setting {
  readonly options: StMoeOptions;
  readonly training: boolean;
  readonly sequences: number;
  readonly tokens: number;
  readonly topK: number;
  readonly coefficients: { readonly balance: number; readonly z: number };
}

/**
 * `st_moe`: lucidrains' ST-MoE layer: gating with its slots, GEGLU experts with a scale, both losses,
 * and gradients through the straight-through dispatch.
 */
export const stMoe: CaseHandler = async (golden, context) => {
  const { backend, precision } = context;
  const setting = settingOf(golden);
  const { options, tokens, sequences, topK } = setting;
  const experts = options.numExperts;
  const ledger = openLedger(
    golden,
    context,
    [options.hiddenSize, experts, topK, options.hiddenSize, tokens],
    (name) => isFloat32Run(name) || name.startsWith("weights.") || ["x", "upstream"].includes(name),
  );
  const params = loadParams(golden, setting, backend, precision);
  const upstream = floatTensor(backend, requireTensor(golden, "upstream"), precision, [
    sequences * tokens,
    options.hiddenSize,
  ]);
  try {
    const forward = backend.scope(() => runLayer(setting, params));
    const values = await takeValues(forward, context);
    const take = (name: string): Values => values.get(name) ?? zeroValues([0]);
    for (const name of ["output", "router_logits", "router_probs"])
      ledger.compare(name, take(name));
    for (const name of ["balance_loss", "router_z_loss", "total_aux_loss"]) {
      ledger.compare(`aux.${name}`, take(`aux.${name}`));
    }
    compareSlots(ledger, setting, take);
    for (const prefix of ["grad", "grad_aux"] as const) {
      const gradients = gradientsOf(setting, params, upstream, prefix === "grad_aux");
      const found = await takeValues(gradients, context);
      compareGradients(ledger, golden, prefix, found, experts);
    }
  } finally {
    for (const { leaf } of leavesOf({ params, upstream })) if ("dispose" in leaf) leaf.dispose();
  }
  return ledger.close();
};

function settingOf(golden: GoldenCase): Setting {
  const { config } = golden;
  const [sequences = 0, tokens = 0] = requireTensor(golden, "x").shape;
  const number = (key: string): number | undefined => {
    const value = config[key];
    return typeof value === "number" ? value : undefined;
  };
  const topK = number("gating_top_n") ?? 2;
  requireCertainty(config);
  return {
    options: {
      hiddenSize: countOf(config, "dim"),
      numExperts: countOf(config, "num_experts"),
      gatingTopN: topK,
      thresholdTrain: number("threshold_train"),
      thresholdEval: number("threshold_eval"),
      chanceInEval: true,
      capacityFactorTrain: number("capacity_factor_train"),
      capacityFactorEval: number("capacity_factor_eval"),
      straightThrough: config["straight_through_dispatch_tensor"] !== false,
    },
    training: config["mode"] !== "eval()",
    sequences,
    tokens,
    topK,
    coefficients: {
      balance: number("balance_loss_coef") ?? 1e-2,
      z: number("router_z_loss_coef") ?? 1e-3,
    },
  };
}

/** Random numbers are not recorded: the thresholds must be so small that none matters. */
function requireCertainty(config: JsonObject): void {
  for (const key of ["threshold_train", "threshold_eval"]) {
    const value = config[key];
    if (typeof value === "number" && value <= 1e-8) continue;
    throw new FormatError(
      `case.json: config.${key} is ${String(value)}; chance would decide, but the case records none`,
      0,
    );
  }
}

function loadParams(
  golden: GoldenCase,
  { options: { numExperts, hiddenSize }, sequences, tokens }: Setting,
  backend: RunContext["backend"],
  precision: RunContext["precision"],
): Params {
  const stacked = (leaf: ExpertLeaf): Tensor => {
    const parts = Array.from({ length: numExperts }, (_, expert) =>
      requireTensor(golden, `weights.${nameOf(leaf, expert)}`),
    );
    const shape = [numExperts, ...(parts[0]?.shape ?? [])];
    const data = Float64Array.from(parts.flatMap((part) => [...part.data]));
    return floatTensor(backend, { shape, data }, precision);
  };
  const x = requireTensor(golden, "x");
  return {
    x: floatTensor(backend, x, precision, [sequences * tokens, hiddenSize]),
    gate: floatTensor(backend, requireTensor(golden, `weights.${GATE}`), precision),
    up: stacked("up"),
    upBias: stacked("upBias"),
    scale: stacked("scale"),
    down: stacked("down"),
    downBias: stacked("downBias"),
  };
}

function nameOf(leaf: ExpertLeaf, expert: number): string {
  return `experts.experts.${expert}.${EXPERT_LEAVES[leaf]}`;
}

/** Routing, output and losses. Where nothing is drawn every choice stays: the numbers are zeros. */
function runLayer(setting: Setting, params: Params): Record<string, Tensor> {
  const { options, training, sequences, tokens, topK, coefficients } = setting;
  const { x, gate, up, upBias, down, downBias, scale } = params;
  const { backend, dtype } = x;
  const routing: TokenChoice = stMoeRouter(options).route({ weight: gate }, {}, x, {
    training,
    sequences: evenSequences(sequences, tokens),
    noise: zeros(backend, [sequences * tokens, topK], dtype),
  });
  const [experts = 0, inner = 0] = scale.shape;
  // The scale stands between activation and down projection, and can be multiplied into it.
  const scaled = mul(down, scale.reshape([experts, 1, inner]));
  const output = fusedFfn(GEGLU, { up, down: scaled, upBias, downBias }).mix(x, routing);
  const none = (): Tensor => zeros(backend, [], dtype);
  const balance = training ? stMoeBalance({ coefficient: 1 }).evaluate([routing]) : none();
  const z = training ? zLoss({ coefficient: 1 }).evaluate([routing]) : none();
  return {
    output,
    router_logits: routing.logits,
    router_probs: routing.scores,
    selected: routing.selected,
    indices: routing.indices,
    weights: routing.outputWeights,
    "aux.balance_loss": balance,
    "aux.router_z_loss": z,
    "aux.total_aux_loss": add(mul(balance, coefficients.balance), mul(z, coefficients.z)),
  };
}

function compareSlots(
  ledger: Ledger,
  { options, training, sequences, tokens, topK }: Setting,
  take: (name: string) => Values,
): void {
  const [selected, indices] = [take("selected"), take("indices")];
  const experts = options.numExperts;
  const factor = training
    ? (options.capacityFactorTrain ?? 1.25)
    : (options.capacityFactorEval ?? 2);
  const capacity = Math.max(4, Math.min(tokens, Math.floor((tokens * factor) / experts)));
  const rows = sequences * tokens;
  const layout = {
    tokens: rows,
    experts,
    topK,
    capacity,
    groupSize: tokens,
    choiceFirst: true,
  };
  const combined = scatterSlots(take("weights"), slotsOf(indices.data, layout), layout);
  ledger.compare("combine_tensor", combined);
  ledger.compare("dispatch_tensor", nonZero(combined));
  ledger.compare("expert_capacity", { shape: [], data: Float64Array.of(capacity) });
  const byChoice = rearranged(selected, [topK, sequences, tokens], (from) =>
    from.map((_, at) => from[(at % rows) * topK + Math.floor(at / rows)] ?? Number.NaN),
  );
  ledger.compare("selected_experts", byChoice);
}

function gradientsOf(
  setting: Setting,
  params: Params,
  upstream: Tensor,
  withLosses: boolean,
): Record<string, Tensor> {
  return upstream.backend.scope(() => {
    const { grads } = valueAndGrad((traced: Params) => {
      const found = runLayer(setting, traced) as Record<"output" | "aux.total_aux_loss", Tensor>;
      const loss = sum(mul(found.output, upstream));
      return withLosses ? add(loss, found["aux.total_aux_loss"]) : loss;
    })(params);
    return grads as Record<string, Tensor>;
  });
}

function compareGradients(
  ledger: Ledger,
  golden: GoldenCase,
  prefix: "grad" | "grad_aux",
  gradients: ReadonlyMap<string, Values>,
  experts: number,
): void {
  for (const [leaf, found] of gradients) {
    if (leaf === "x" || leaf === "gate") {
      compareTo(ledger, golden, prefix, leaf === "x" ? "x" : `weights.${GATE}`, found);
      continue;
    }
    const shape = found.shape.slice(1);
    const size = found.data.length / experts;
    for (let expert = 0; expert < experts; expert++) {
      const part = rearranged(found, shape, (from) =>
        from.slice(expert * size, (expert + 1) * size),
      );
      const name = `weights.${nameOf(leaf as ExpertLeaf, expert)}`;
      compareTo(ledger, golden, prefix, name, part);
    }
  }
}

/** A gradient that was not recorded is zero, and with losses it is what it is without them. */
function compareTo(
  ledger: Ledger,
  { tensors }: GoldenCase,
  prefix: "grad" | "grad_aux",
  name: string,
  gradient: Values,
): void {
  const own = `${prefix}.${name}`;
  if (tensors.has(own)) ledger.compare(own, gradient);
  else {
    const reference = tensors.get(`grad.${name}`) ?? zeroValues(gradient.shape);
    ledger.compareValues(own, reference, gradient);
  }
}
