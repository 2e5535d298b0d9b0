import type { Family } from "../family.ts";
import { pooledBalance } from "./experts.ts";
import {
  graniteAround,
  graniteDecoder,
  graniteDefaults,
  graniteFused,
  graniteMoe,
  graniteTensors,
} from "./granitemoe.ts";
import { gatedFfn } from "./llama.ts";
import { withRules } from "./rule-list.ts";

/** Granite 3 MoE with a shared expert, which the layer adds; both are this block. */
export const granitemoeshared: Family = {
  modelType: "granitemoeshared",
  defaults: { ...graniteAround, ...graniteDefaults, shared_intermediate_size: 0 },
  block: {
    moe(config) {
      const size = config.count("shared_intermediate_size", 0);
      const shared = size > 0 ? ({ ...gatedFfn(config, size), merge: "add" } as const) : undefined;
      return { ...graniteMoe(config), shared };
    },
    losses: pooledBalance,
    tensors: /*#__PURE__*/ withRules(/*#__PURE__*/ graniteTensors("block_sparse_moe."), [
      { path: "shared.ffn.gateUp", names: ["shared_mlp.input_linear.weight"] },
      { path: "shared.ffn.down", names: ["shared_mlp.output_linear.weight"] },
    ]),
    fused: /*#__PURE__*/ graniteFused("block_sparse_moe."),
    prefix: "model.layers.{layer}.",
  },
  decoder: { ...graniteDecoder, architecture: "GraniteMoeSharedForCausalLM" },
};

/** Granite 4: its experts are those of {@link granitemoeshared}, whatever its layers mix with. */
export const granitemoehybrid: Family = {
  modelType: "granitemoehybrid",
  block: granitemoeshared.block,
  defaults: { ...graniteDefaults, shared_intermediate_size: 1024 },
};
