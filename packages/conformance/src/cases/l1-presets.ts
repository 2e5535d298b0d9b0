import type { RouteSpec } from "@moiety/core";
import type { ConformanceCase } from "../case.ts";
import { type HostTensor, generated } from "../host-tensor.ts";
import type { CaseRandom } from "../random.ts";
import { routeCase } from "./l1-route-check.ts";
import { distinctLogits } from "./l1-support.ts";

/** A combination of stages as a published model has it. */
interface Preset {
  readonly id: string;
  readonly family: string;
  readonly spec: RouteSpec;
}

const PRESETS: readonly Preset[] = [
  { id: "switch", family: "Switch Transformers", spec: { experts: 8, topK: 1, score: "softmax" } },
  {
    id: "gshard",
    family: "GShard",
    spec: { experts: 16, topK: 2, score: "softmax", renormalize: { epsilon: "machine" } },
  },
  {
    id: "mixtral",
    family: "Mixtral",
    spec: { experts: 8, topK: 2, score: "softmax", renormalize: {} },
  },
  { id: "qwen2-moe", family: "Qwen2-MoE", spec: { experts: 60, topK: 4, score: "softmax" } },
  {
    id: "qwen3-moe",
    family: "Qwen3-MoE",
    spec: { experts: 128, topK: 8, score: "softmax", renormalize: {} },
  },
  { id: "olmoe", family: "OLMoE", spec: { experts: 64, topK: 8, score: "softmax" } },
  {
    id: "deepseek-v2",
    family: "DeepSeek-V2",
    spec: {
      experts: 160,
      topK: 6,
      score: "softmax",
      groups: { count: 8, topK: 3, score: "max", fill: "zero" },
      scale: 16,
    },
  },
  {
    id: "deepseek-v3",
    family: "DeepSeek-V3",
    spec: {
      experts: 64,
      topK: 8,
      score: "sigmoid",
      bias: true,
      groups: { count: 8, topK: 4, score: { top: 2 }, fill: "mask" },
      renormalize: { epsilon: 1e-20 },
      scale: 2.5,
    },
  },
  {
    id: "deepseek-v4",
    family: "DeepSeek-V4",
    spec: {
      experts: 64,
      topK: 6,
      score: "sqrtSoftplus",
      bias: true,
      renormalize: { epsilon: 1e-20 },
      scale: 1.5,
    },
  },
  {
    id: "llama4",
    family: "Llama 4",
    spec: { experts: 16, topK: 1, score: "sigmoid", selectBy: "logits", site: "input" },
  },
  {
    id: "gpt-oss",
    family: "gpt-oss",
    spec: {
      experts: 32,
      topK: 4,
      score: "softmax",
      selectBy: "logits",
      weight: "softmaxOfChosen",
    },
  },
  {
    id: "grok",
    family: "Grok-1",
    spec: { experts: 8, topK: 2, score: "softmax", softcap: 30 },
  },
  {
    id: "lfm2-moe",
    family: "LFM2-MoE",
    spec: { experts: 32, topK: 4, score: "sigmoid", bias: true, renormalize: { epsilon: 1e-6 } },
  },
  {
    id: "cohere2-moe",
    family: "Cohere2-MoE",
    spec: {
      experts: 32,
      topK: 4,
      score: "sigmoid",
      selectBy: "logits",
      weight: "sigmoidOfChosen",
    },
  },
];

/** A balancing bias as training leaves it: small steps of one size. */
function balancing(random: CaseRandom, experts: number): HostTensor {
  const steps = random.integers([experts], -16, 16);
  return generated([experts], "f32", (expert) => (steps.data[expert] ?? 0) / 1024);
}

/** The combinations of stages of published models. */
export const presetCases: readonly ConformanceCase[] = PRESETS.map(({ id, family, spec }) =>
  routeCase(`preset-${id}`, `tokens are routed as ${family} routes them`, (random) => ({
    spec,
    inputs: {
      logits: distinctLogits(random, 17, spec.experts),
      ...(spec.bias && { bias: balancing(random, spec.experts) }),
    },
  })),
);
