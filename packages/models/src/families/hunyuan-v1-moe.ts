import { mixtralSpec } from "@moiety/routers";
import type { Family } from "../family.ts";
import { expertTensors, fusedExperts } from "./experts.ts";
import { gatedFfn } from "./llama.ts";
import { withRules } from "./rule-list.ts";

/** Hunyuan-A13B (2025); its block. Numbers of experts and choices may be lists, one for each layer. */
export const hunyuanV1Moe: Family = {
  modelType: "hunyuan_v1_moe",
  defaults: {
    hidden_act: "silu",
    hidden_size: 4096,
    initializer_range: 0.02,
    intermediate_size: 11008,
    moe_topk: 1,
    num_experts: 1,
  },
  block: {
    moe(config, layer) {
      const ffn = gatedFfn(config, config.count("intermediate_size"));
      const spec = mixtralSpec({
        numLocalExperts: config.countAt("num_experts", layer),
        numExpertsPerTok: config.countAt("moe_topk", layer),
      });
      return { router: { spec }, expert: ffn, shared: { ...ffn, merge: "add" } };
    },
    losses: () => [],
    tensors: /*#__PURE__*/ withRules(
      /*#__PURE__*/ expertTensors("gate_proj", "up_proj", "down_proj", "shared_mlp"),
      [{ path: "router.weight", names: ["gate.wg.weight"] }],
    ),
    fused: fusedExperts,
    prefix: "model.layers.{layer}.mlp.",
  },
};
