import type { JsonObject } from "@moiety/checkpoints";
import { FormatError, type Tensor, add, div, mul, sum, topK, valueAndGrad } from "@moiety/core";
import { megatronBalance, zLoss } from "@moiety/losses";
import { type MegatronOptions, megatronRouter } from "@moiety/routers";
import { type GoldenCase, requireTensor } from "../case.ts";
import { countOf } from "../config.ts";
import { type CaseHandler, isFloat32Run, openLedger } from "../handler.ts";
import { floatTensor, takeValues } from "../values.ts";
import { choiceMap, spreadChoices } from "./choice-maps.ts";
import { routeLogits } from "./route-logits.ts";

/** The names of losses end with the coefficient that they come multiplied by. */
const LOSSES = { aux_loss_coeff_: megatronBalance, z_loss_coeff_: zLoss } as const;

/**
 * `megatron_topk`: Megatron-LM's top-k routing of logits `[T, E]`, its balance loss with the scores
 * and choices that it is made of, its z-loss, and gradients.
 */
export const megatronTopK: CaseHandler = async (golden, context) => {
  const { backend, precision } = context;
  const options = megatronOptionsOf(golden.config);
  const { numMoeExperts: experts, moeRouterTopk: k = 2 } = options;
  const router = megatronRouter(options);
  const losses = lossesOf(golden);
  const ledger = openLedger(
    golden,
    context,
    [experts, experts, requireTensor(golden, "logits").shape[0] ?? 0],
    (name) => isFloat32Run(name) || ["logits", "upstream_probs", "expert_bias"].includes(name),
  );
  const results = backend.scope(() => {
    const given = floatTensor(backend, requireTensor(golden, "logits"), precision);
    const upstream = floatTensor(backend, requireTensor(golden, "upstream_probs"), precision);
    const selectionBias = options.moeRouterEnableExpertBias
      ? floatTensor(backend, requireTensor(golden, "expert_bias"), precision)
      : undefined;
    const step = (isTotal: boolean) =>
      valueAndGrad(({ logits }: { logits: Tensor }) => {
        const routing = routeLogits(router, { selectionBias }, logits);
        const values = losses.map(({ name, coefficient, loss }) => ({
          name,
          value: mul(loss.evaluate([routing]), coefficient),
        }));
        const probs = spreadChoices(routing.outputWeights, routing.indices, experts);
        const plain = sum(mul(probs, upstream));
        const scores = div(routing.scores, add(sum(routing.scores, [-1], true), 1e-20));
        return {
          loss: isTotal ? values.reduce((total, { value }) => add(total, value), plain) : plain,
          aux: {
            routing_probs: probs,
            routing_map: choiceMap(routing.indices, experts),
            aux_scores: scores,
            aux_routing_map: choiceMap(topK(scores, undefined, { k })[1], experts),
            ...Object.fromEntries(values.map(({ name, value }) => [name, value])),
          },
        };
      })({ logits: given });
    const plain = step(false);
    return {
      ...plain.aux,
      "grad.logits": plain.grads.logits as Tensor,
      "grad_aux.logits": step(true).grads.logits as Tensor,
    };
  });
  for (const [name, values] of await takeValues(results, context)) ledger.compare(name, values);
  return ledger.close();
};

function megatronOptionsOf(config: JsonObject): MegatronOptions {
  const experts = countOf(config, "num_experts");
  const optional = (key: string): number | undefined =>
    typeof config[key] === "number" ? config[key] : undefined;
  const score = config["score_function"];
  if (score !== "softmax" && score !== "sigmoid" && score !== "sqrtsoftplus") {
    throw new FormatError(
      `case.json: config.score_function is ${String(score)}, which Megatron-LM does not have`,
      0,
    );
  }
  return {
    hiddenSize: experts,
    numMoeExperts: experts,
    moeRouterTopk: countOf(config, "topk"),
    moeRouterScoreFunction: score,
    moeRouterPreSoftmax: config["use_pre_softmax"] === true,
    moeRouterNumGroups: optional("num_groups"),
    moeRouterGroupTopk: optional("group_topk"),
    moeRouterTopkScalingFactor: optional("scaling_factor"),
    // The function takes a bias with softmax, too, and does not look at it.
    moeRouterEnableExpertBias: config["expert_bias"] === true && score !== "softmax",
  };
}

function lossesOf({ tensors }: GoldenCase) {
  return [...tensors.keys()].flatMap((name) =>
    Object.entries(LOSSES).flatMap(([prefix, make]) => {
      if (!name.startsWith(prefix)) return [];
      const coefficient = Number(name.slice(prefix.length));
      return [{ name, coefficient, loss: make({ coefficient }) }];
    }),
  );
}
