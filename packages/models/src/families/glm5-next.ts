import type { Family } from "../family.ts";
import { deepseekBlock, deepseekMoe } from "./deepseek.ts";
import { pooledBalance } from "./experts.ts";

/** GLM-5.3 (`glm5_next`); its block: gates and halves are limited, in the shared expert too. */
export const glm5Next: Family = {
  modelType: "glm5_next",
  section: "text_config",
  defaults: {
    hidden_act: "silu",
    hidden_size: 4096,
    initializer_range: 0.02,
    moe_intermediate_size: 2048,
    n_group: 1,
    n_routed_experts: 288,
    n_shared_experts: 1,
    norm_topk_prob: true,
    num_experts_per_tok: 8,
    routed_scaling_factor: 2.5,
    router_aux_loss_coef: 0.001,
    swiglu_limit: 10,
    topk_group: 1,
  },
  block: {
    ...deepseekBlock,
    moe(config) {
      const { router, expert, shared } = deepseekMoe(config);
      const clamp = { limit: config.number("swiglu_limit") };
      return {
        router,
        // Routed experts are always silu's; the shared one follows `hidden_act`.
        expert: { ...expert, activation: "silu", clamp },
        shared: shared && { ...shared, clamp },
      };
    },
    losses: pooledBalance,
    prefix: "model.language_model.layers.{layer}.mlp.",
  },
};
