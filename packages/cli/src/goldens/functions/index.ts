import type { CaseHandler } from "../handler.ts";
import { baseAssignment } from "./base-assignment.ts";
import { deepspeedGating } from "./deepspeed-gating.ts";
import { flaxformerRouting } from "./flaxformer-routing.ts";
import { lossLoadBalancing } from "./loss-load-balancing.ts";
import { lossSwitch } from "./loss-switch.ts";
import { megatronDropping } from "./megatron-dropping.ts";
import { megatronSinkhorn } from "./megatron-sinkhorn.ts";
import { megatronTopK } from "./megatron-topk.ts";
import { softMoe } from "./soft-moe.ts";
import { stMoe } from "./st-moe.ts";
import { vmoeBlock } from "./vmoe-block.ts";
import { vmoeSoft } from "./vmoe-soft.ts";

/** Functions that are recorded by themselves, by the name of their folder. */
export const functions: Readonly<Record<string, CaseHandler>> = {
  base_assignment: baseAssignment,
  deepspeed_gating: deepspeedGating,
  flaxformer_routing: flaxformerRouting,
  loss_load_balancing: lossLoadBalancing,
  loss_switch: lossSwitch,
  megatron_dropping: megatronDropping,
  megatron_sinkhorn: megatronSinkhorn,
  megatron_topk: megatronTopK,
  soft_moe: softMoe,
  st_moe: stMoe,
  vmoe_block: vmoeBlock,
  vmoe_soft: vmoeSoft,
};
