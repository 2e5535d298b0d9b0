import type { TensorRule } from "@moiety/checkpoints";
import type { Family } from "../family.ts";
import { gatedFfn } from "./llama.ts";

const router = (path: string, name: string): TensorRule => ({
  path: `router.${path}`,
  names: [`gate.${name}`],
});

const tensors: readonly TensorRule[] = [
  /*#__PURE__*/ router("downWeight", "down_proj.weight"),
  /*#__PURE__*/ router("downBias", "down_proj.bias"),
  /*#__PURE__*/ router("stateScale", "router_states_scale"),
  /*#__PURE__*/ router("norm", "router_mlp.norm.weight"),
  /*#__PURE__*/ router("firstWeight", "router_mlp.fc1.weight"),
  /*#__PURE__*/ router("firstBias", "router_mlp.fc1.bias"),
  /*#__PURE__*/ router("secondWeight", "router_mlp.fc2.weight"),
  /*#__PURE__*/ router("secondBias", "router_mlp.fc2.bias"),
  /*#__PURE__*/ router("outWeight", "router_mlp.out_proj.weight"),
  { path: "state.router.selectionBias", names: ["gate.balancing_biases"] },
  { path: "experts.bank.gateUp", names: ["experts.gate_up_proj"] },
  { path: "experts.bank.down", names: ["experts.down_proj"] },
];

/**
 * ZAYA1 (Zyphra, 2026); its block: a router that remembers that of the layer before, and a class
 * that skips the experts. Tensors under transformers' names, which Zyphra's first files lack.
 */
export const zaya: Family = {
  modelType: "zaya",
  defaults: {
    hidden_act: "silu",
    hidden_size: 2048,
    initializer_range: 0.02,
    moe_intermediate_size: 2048,
    num_experts: 16,
    num_experts_per_tok: 1,
    rms_norm_eps: 1e-5,
    router_hidden_size: 256,
  },
  block: {
    moe: (config, layer) => ({
      router: {
        kind: "zaya",
        numExperts: config.count("num_experts"),
        numExpertsPerTok: config.count("num_experts_per_tok"),
        routerHiddenSize: config.count("router_hidden_size"),
        rmsNormEps: config.number("rms_norm_eps"),
        first: layer === 0,
      },
      expert: gatedFfn(config, config.count("moe_intermediate_size")),
      around: [{ kind: "special", experts: [{ kind: "zero", count: 1 }] }],
    }),
    losses: () => [],
    tensors,
    prefix: "model.layers.{layer}.mlp.",
  },
};
