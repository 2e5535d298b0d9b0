import {
  FormatError,
  type RouteSpec,
  type Routing,
  type Tensor,
  add,
  mul,
  sum,
  takeAlong,
  valueAndGrad,
  zeros,
} from "@moiety/core";
import { flaxformerBalance, zLoss } from "@moiety/losses";
import { expertChoiceRouter, linearRouter } from "@moiety/routers";
import { type GoldenCase, type Values, requireTensor } from "../case.ts";
import { countOf } from "../config.ts";
import { type CaseHandler, type RunContext, isFloat32Run, openLedger } from "../handler.ts";
import { evenSequences, floatTensor, takeValues, zeroValues } from "../values.ts";
import { routeLogits } from "./route-logits.ts";
import { gatherSlots, nonZero, scatterSlots, slotsOf } from "./slots.ts";
import { type VmoeGroups, buffers, layoutOf, spreadItems } from "./vmoe-slots.ts";

/** Factors of the losses in `grad_aux.*`. */
const BALANCE = 0.01;
const Z = 0.001;

/** A case, read. */
interface Setting {
  readonly kind: "experts choose" | "masked" | "scatter";
  readonly groups: VmoeGroups;
  readonly capacity: number;
  route(logits: Tensor): Routing;
}

/** The recorded tensors that the choices lead to, and where in them each of our weights stands. */
interface Placement {
  readonly tensors: Readonly<Record<string, Values>>;
  /** Places of our weights in the recorded combine tensor; −1 for those that have none. */
  readonly slots: Int32Array;
}

/**
 * `flaxformer_routing`: flaxformer's routers (experts choose, tokens choose by mask or by scatter)
 * from logits `[G, T, E]`: their buffers, losses and gradients.
 */
export const flaxformerRouting: CaseHandler = async (golden, context) => {
  const { backend, precision } = context;
  const setting = settingOf(golden);
  const { groups } = setting;
  const ledger = openLedger(
    golden,
    context,
    [groups.experts, groups.length],
    (name) => isFloat32Run(name) || name === "logits" || name === "upstream_combine",
  );
  const rows = [groups.count * groups.length, groups.experts];
  const logits = floatTensor(backend, requireTensor(golden, "logits"), precision, rows);
  try {
    const choices = await takeValues(
      backend.scope(() => choicesOf(setting.route(logits))),
      context,
    );
    const placement = place(setting, (name) => choices.get(name) ?? zeroValues([0]));
    for (const [name, values] of Object.entries(placement.tensors)) ledger.compare(name, values);
    const results = evaluate(setting, golden, { logits, precision, slots: placement.slots });
    for (const [name, values] of await takeValues(results, context)) ledger.compare(name, values);
  } finally {
    logits.dispose();
  }
  return ledger.close();
};

function settingOf({ config }: GoldenCase): Setting {
  const experts = countOf(config, "num_experts");
  const [count, length] = [countOf(config, "num_groups"), countOf(config, "tokens_per_group")];
  const capacity = countOf(config, "expert_capacity");
  const context = { sequences: evenSequences(count, length) };
  const groups = { count, length, experts };
  if (config["router"] === "ExpertsChooseMaskedRouter") {
    const router = expertChoiceRouter({
      hiddenSize: experts,
      numExperts: experts,
      capacity: { absolute: capacity },
      per: "sequence",
    });
    return {
      kind: "experts choose",
      groups: { ...groups, topK: 1, batchPriority: false },
      capacity,
      route: (logits) => routeLogits(router, {}, logits, context),
    };
  }
  const scatter = config["router"] === "TokensChooseScatterRouter";
  if (!scatter && config["router"] !== "TokensChooseMaskedRouter") {
    throw new FormatError(
      `case.json: config.router is ${String(config["router"])}, which is not built`,
      0,
    );
  }
  const batchPriority = config["batch_prioritized_routing"] === true;
  const topK = countOf(config, "num_selected_experts");
  const spec: RouteSpec = {
    experts,
    topK,
    score: "softmax",
    capacity: {
      size: { absolute: capacity },
      per: "sequence",
      order: batchPriority ? "prioritized" : "choice",
    },
  };
  const router = linearRouter({ inputSize: experts, spec });
  return {
    kind: scatter ? "scatter" : "masked",
    groups: { ...groups, topK, batchPriority },
    capacity,
    route: (logits) => routeLogits(router, {}, logits, context),
  };
}

function choicesOf(routing: Routing): Record<string, Tensor> {
  switch (routing.kind) {
    case "expert-choice":
      return { tokens: routing.tokens, weights: routing.weights };
    case "token-choice": {
      const { indices, selected, scores, outputWeights } = routing;
      const gates = takeAlong(scores, selected, { axis: 1 });
      return { indices, selected, gates, weights: outputWeights };
    }
    case "soft":
      throw new FormatError("flaxformer has no soft router", 0);
  }
}

function place(setting: Setting, take: (name: string) => Values): Placement {
  const { kind, groups, capacity } = setting;
  const weights = take("weights");
  if (kind === "experts choose") {
    const tokens = take("tokens");
    const { combined } = spreadItems(groups, tokens, weights);
    const slots = Int32Array.from(tokens.data, (token, at) => {
      const expert = Math.floor(at / capacity) % groups.experts;
      return (token * groups.experts + expert) * capacity + (at % capacity);
    });
    return { tensors: { combine: combined, dispatch_mask: nonZero(combined) }, slots };
  }
  const layout = { ...layoutOf(groups, take("gates")), capacity };
  if (kind === "scatter") {
    const tensors = { combine: weights, dispatch_indices: buffers(take("selected"), layout) };
    return { tensors, slots: Int32Array.from(weights.data, (_, at) => at) };
  }
  const slots = slotsOf(take("indices").data, layout);
  const combined = scatterSlots(weights, slots, layout);
  return { tensors: { combine: combined, dispatch_mask: nonZero(combined) }, slots };
}

function evaluate(
  setting: Setting,
  golden: GoldenCase,
  {
    logits,
    precision,
    slots,
  }: {
    readonly logits: Tensor;
    readonly precision: RunContext["precision"];
    readonly slots: Int32Array;
  },
): Record<string, Tensor> {
  const { backend } = logits;
  const upstream = gatherSlots(requireTensor(golden, "upstream_combine").data, slots);
  return backend.scope(() => {
    const step = (withLosses: boolean) =>
      valueAndGrad(({ logits: traced }: { logits: Tensor }) => {
        const routing = setting.route(traced);
        const weights =
          routing.kind === "token-choice" ? routing.outputWeights : weightsOf(routing);
        const pulled = backend.tensor(upstream, { shape: weights.shape, dtype: precision });
        const balance =
          routing.kind === "token-choice"
            ? flaxformerBalance({ coefficient: BALANCE }).evaluate([routing])
            : zeros(backend, [], precision);
        const z = zLoss({ coefficient: Z }).evaluate([routing]);
        const plain = sum(mul(weights, pulled));
        return {
          loss: withLosses ? add(add(plain, mul(balance, BALANCE)), mul(z, Z)) : plain,
          aux: { "aux.load_balancing_loss": balance, "aux.router_z_loss": z },
        };
      })({ logits });
    const plain = step(false);
    return {
      ...plain.aux,
      "grad.logits": plain.grads.logits as Tensor,
      "grad_aux.logits": step(true).grads.logits as Tensor,
    };
  });
}

function weightsOf(routing: Routing): Tensor {
  if (routing.kind === "expert-choice") return routing.weights;
  throw new FormatError(`flaxformer has no router of kind ${routing.kind}`, 0);
}
