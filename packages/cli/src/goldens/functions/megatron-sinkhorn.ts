import { type Tensor, mul, sum, valueAndGrad } from "@moiety/core";
import { sinkhorn, sinkhornRouter } from "@moiety/routers";
import { requireTensor } from "../case.ts";
import { countOf } from "../config.ts";
import { type CaseHandler, isFloat32Run, openLedger } from "../handler.ts";
import { floatTensor, takeValues } from "../values.ts";
import { choiceMap, spreadChoices } from "./choice-maps.ts";
import { routeLogits } from "./route-logits.ts";

/**
 * `megatron_sinkhorn`: Megatron-LM's Sinkhorn routing of logits `[T, E]`. The normalised matrix is
 * held to 1e-3, because the source stops as soon as a tolerance is met.
 */
export const megatronSinkhorn: CaseHandler = async (golden, context) => {
  const { backend, precision } = context;
  const { config } = golden;
  const [experts, topK] = [countOf(config, "num_experts"), countOf(config, "topk")];
  const training = config["training"] === true;
  const tolerance = typeof config["tol"] === "number" ? config["tol"] : undefined;
  const router = sinkhornRouter({ hiddenSize: experts, numExperts: experts, topK, tolerance });
  const ledger = openLedger(
    golden,
    context,
    [experts, experts],
    (name) => isFloat32Run(name) || name === "logits" || name === "upstream_scores",
  );
  const results = backend.scope(() => {
    const given = floatTensor(backend, requireTensor(golden, "logits"), precision);
    const upstream = floatTensor(backend, requireTensor(golden, "upstream_scores"), precision);
    const { grads, aux } = valueAndGrad(({ logits }: { logits: Tensor }) => {
      const { indices, outputWeights } = routeLogits(router, {}, logits, { training });
      const scores = spreadChoices(outputWeights, indices, experts);
      return {
        loss: sum(mul(scores, upstream)),
        aux: { scores, routing_map: choiceMap(indices, experts) },
      };
    })({ logits: given });
    return {
      ...aux,
      "grad.logits": grads.logits as Tensor,
      sinkhorn_norm_logits: sinkhorn(given, { tolerance }),
    };
  });
  const matrix = "sinkhorn_norm_logits";
  for (const [name, values] of await takeValues(results, context)) {
    if (name !== matrix) ledger.compare(name, values);
    else ledger.compare(name, values, (row) => 1e-3 * row);
  }
  ledger.judge(matrix, "held to 1e-3 of its row, because the source stops at a tolerance");
  return ledger.close();
};
