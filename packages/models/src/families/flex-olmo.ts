import type { Family } from "../family.ts";
import { gatedFfn } from "./llama.ts";
import { qwenBlock, qwenRouter } from "./qwen.ts";

/** FlexOlmo (arXiv 2507.07024); its block. */
export const flexOlmo: Family = {
  modelType: "flex_olmo",
  defaults: {
    hidden_act: "silu",
    hidden_size: 4096,
    initializer_range: 0.02,
    intermediate_size: 11008,
    norm_topk_prob: false,
    num_experts: 7,
    num_experts_per_tok: 5,
    router_aux_loss_coef: 0.01,
  },
  block: {
    ...qwenBlock,
    moe: (config) => ({
      router: qwenRouter(config),
      expert: gatedFfn(config, config.count("intermediate_size")),
    }),
  },
};
