import { ConfigError } from "@moiety/core";
import type { CatalogueOptions, LossEntry } from "./catalogue.ts";
import { deepseekExpertBalance } from "./deepseek-balance.ts";
import { deepspeedBalance } from "./deepspeed-balance.ts";
import { deepseekCommunicationBalance, deepseekDeviceBalance } from "./device-balance.ts";
import { dogeBalance } from "./doge-balance.ts";
import { entropyLoss, tokenEntropyLoss } from "./entropy-loss.ts";
import { flaxformerBalance } from "./flaxformer-balance.ts";
import { globalBatchBalance } from "./global-batch-balance.ts";
import { gshardBalance } from "./gshard-balance.ts";
import { huggingFaceBalance } from "./hugging-face-balance.ts";
import { huggingFaceSwitchBalance } from "./hugging-face-switch-balance.ts";
import { importanceCv } from "./importance-cv.ts";
import { loadCv } from "./load-cv.ts";
import { megablocksBalance, megatronBalance } from "./megatron-balance.ts";
import { mutualInformation } from "./mutual-information.ts";
import { nllbBalance } from "./nllb-balance.ts";
import { reinforceLoss } from "./reinforce.ts";
import { reluSparsity } from "./relu-controller.ts";
import { sequenceBalance } from "./sequence-balance.ts";
import { stMoeBalance } from "./st-moe-balance.ts";
import { switchBalance } from "./switch-balance.ts";
import { vmoeLosses } from "./vmoe-losses.ts";
import { zLoss } from "./z-loss.ts";

/** Every loss of this package, as data. */
export const lossCatalogue: readonly LossEntry[] = [
  {
    name: "switchBalance",
    summary: "share of assignments times mean probability, for any k",
    formula: "E · Σ f · P",
    source: "Fedus et al. 2021",
    balanced: "1",
    make: (options) => [switchBalance(options)],
  },
  {
    name: "gshardBalance",
    summary: "the same with first choices only",
    formula: "E² · mean(c · m)",
    source: "Lepikhin et al. 2020; vmoe",
    balanced: "1",
    make: (options) => [gshardBalance(options)],
  },
  {
    name: "stMoeBalance",
    summary: "first choices that found a place, per sequence",
    formula: "E² · mean(c · m)",
    source: "lucidrains/st-moe-pytorch",
    balanced: "1",
    make: (options) => [stMoeBalance(options)],
  },
  {
    name: "flaxformerBalance",
    summary: "all k choices, not divided by k, per group",
    formula: "E² · mean(c · m)",
    source: "flaxformer routing.py",
    balanced: "k",
    make: (options) => [flaxformerBalance(options)],
  },
  {
    name: "deepspeedBalance",
    summary: "l_aux of top-1, top-2 (first choices) and top-k gating (all)",
    formula: "E · Σ c · m",
    source: "DeepSpeed sharded_moe.py",
    balanced: "1",
    make: (options) => [deepspeedBalance(options)],
  },
  {
    name: "megatronBalance",
    summary: "plain k best of the normalised scores, whatever was selected",
    formula: "E/(kT²) · Σ Σp · count",
    source: "Megatron-LM moe_utils.py",
    balanced: "1",
    make: (options) => [megatronBalance(options)],
  },
  {
    name: "megablocksBalance",
    summary: "mean over layers of Switch's, counting what was selected",
    formula: "E/(LTk) · Σ count · P",
    source: "MegaBlocks moe.py",
    balanced: "1",
    make: (options) => [megablocksBalance(options)],
  },
  {
    name: "huggingFaceBalance",
    summary: "transformers' load_balancing_loss_func: layers pooled before multiplying",
    formula: "E · Σ (Σₗf)(ΣₗP)",
    source: "transformers modeling_mixtral.py",
    balanced: "k",
    make: (options) => [huggingFaceBalance(options)],
  },
  {
    name: "huggingFaceSwitchBalance",
    summary: "the same of Switch: dropped tokens count as expert 0, k = 1",
    formula: "E · Σ f · P",
    source: "transformers modeling_switch_transformers.py",
    balanced: "1",
    make: (options) => [huggingFaceSwitchBalance(options)],
  },
  {
    name: "dogeBalance",
    summary: "transformers' Doge: probabilities by rank of product keys, not by expert",
    formula: "E · Σ f · P_rank",
    source: "transformers modeling_doge.py",
    balanced: "1",
    make: ({ coefficient }) => [dogeBalance({ coefficient })],
  },
  {
    name: "nllbBalance",
    summary: "mean combine weights after dropping; dropped count as expert 0",
    formula: "E · Σ f · W",
    source: "transformers modeling_nllb_moe.py",
    balanced: "1",
    make: (options) => [nllbBalance(options)],
  },
  {
    name: "deepseekExpertBalance",
    summary: "DeepSeek's expert level, per sequence",
    formula: "Σ f · P, f = E/(kT) · count",
    source: "DeepSeek-V2 2024",
    balanced: "1",
    make: (options) => [deepseekExpertBalance(options)],
  },
  {
    name: "deepseekDeviceBalance",
    summary: "DeepSeek's device level: load of groups of experts",
    formula: "Σ_d mean(f) · ΣP",
    source: "DeepSeek-V2 2024",
    balanced: "1",
    make: (options) => [
      deepseekDeviceBalance({ ...options, devices: required(options, "devices") }),
    ],
  },
  {
    name: "deepseekCommunicationBalance",
    summary: "DeepSeek-V2's communication: tokens sent to each device",
    formula: "Σ_d D/(MT) · sent · ΣP",
    source: "DeepSeek-V2 2024",
    balanced: "1",
    make: (options) => [
      deepseekCommunicationBalance({ ...options, devices: required(options, "devices") }),
    ],
  },
  {
    name: "sequenceBalance",
    summary: "DeepSeek-V3's complement: unbiased k best, per sequence",
    formula: "Σ f · P, P of s/Σs",
    source: "DeepSeek-V3 2024",
    balanced: "1",
    make: (options) => [sequenceBalance(options)],
  },
  {
    name: "globalBatchBalance",
    summary: "counts of the whole step, probabilities of the micro-batch",
    formula: "E · Σ f_global · P",
    source: "Qiu et al. 2025; Megatron-LM",
    balanced: "1",
    make: (options) => [globalBatchBalance(options)],
  },
  {
    name: "importanceCv",
    summary: "variation of the experts' summed weights",
    formula: "CV²(Σ_t g)",
    source: "Shazeer et al. 2017",
    balanced: "0",
    make: (options) => [importanceCv(options)],
  },
  {
    name: "loadCv",
    summary: "variation of a smooth estimate of the load; needs noise",
    formula: "CV²(Σ_t Φ((l − thr)/σ))",
    source: "Shazeer et al. 2017",
    balanced: "0",
    make: (options) => [loadCv(options)],
  },
  {
    name: "vmoeLosses",
    summary: "V-MoE's importance and load losses, per group",
    formula: "CV² + CV²",
    source: "Riquelme et al. 2021; vmoe",
    balanced: "0",
    make: ({ coefficient, target }) =>
      vmoeLosses({ importance: coefficient, load: coefficient, target }),
  },
  {
    name: "entropyLoss",
    summary: "entropy that the mean probabilities lack",
    formula: "log E − H(P)",
    source: "–",
    balanced: "0",
    make: (options) => [entropyLoss(options)],
  },
  {
    name: "mutualInformation",
    summary: "negative information between tokens (or sequences) and experts",
    formula: "H̄ − H(P)",
    source: "Shen et al. 2023; Chen et al. 2023",
    balanced: "−log E",
    make: (options) => [mutualInformation(options)],
  },
  {
    name: "tokenEntropyLoss",
    summary: "mean entropy of each token's probabilities",
    formula: "H̄",
    source: "–",
    balanced: "–",
    make: ({ coefficient }) => [tokenEntropyLoss({ coefficient })],
  },
  {
    name: "zLoss",
    summary: "keeps logits small",
    formula: "mean((log Σ exp l)²)",
    source: "Zoph et al. 2022",
    balanced: "–",
    make: ({ coefficient }) => [zLoss({ coefficient })],
  },
  {
    name: "reluSparsity",
    summary: "ReMoE's L1, weighted by load; λ comes from the routing",
    formula: "λ · E · Σ f · R̄",
    source: "Wang et al. 2024",
    balanced: "–",
    make: ({ coefficient, ...options }) => [
      reluSparsity({ coefficient, topK: required(options, "topK") }),
    ],
  },
  {
    name: "reinforceLoss",
    summary: "surrogate whose gradient is REINFORCE's; made for each step's reward",
    formula: "−sg(r − b) · log π + c(r − b)²",
    source: "Williams 1992; Clark et al. 2022",
    balanced: "–",
    make: ({ coefficient, ...options }) => [
      reinforceLoss({ coefficient, reward: required(options, "reward") }),
    ],
  },
];

/** An option without which some losses cannot be made. */
function required<Key extends "devices" | "topK" | "reward">(
  options: Pick<CatalogueOptions, Key>,
  key: Key,
): NonNullable<CatalogueOptions[Key]> {
  const value = options[key];
  if (value !== undefined && value !== null) return value;
  throw new ConfigError(`this loss needs ${key}`, key, value);
}
