import type { JsonObject } from "@moiety/checkpoints";
import type { Family } from "../family.ts";
import { deepseekBlock, deepseekMoe } from "./deepseek.ts";
import { deepseekV3Around, deepseekV3Decoder, deepseekV3Defaults } from "./deepseek-v3.ts";

/** What release 5 assumes of `kimi_k2`, which it reads as DeepSeek-V3. */
const defaults: JsonObject = { ...deepseekV3Around, ...deepseekV3Defaults };

/** Kimi K2 (arXiv 2507.20534): DeepSeek-V3's layers, with 384 experts in one group. */
export const kimiK2: Family = {
  modelType: "kimi_k2",
  defaults,
  block: { ...deepseekBlock, moe: (config) => deepseekMoe(config) },
  decoder: deepseekV3Decoder,
};

/** Kimi K2.5: the block of its language model, which is Kimi K2's. */
export const kimiK25: Family = {
  modelType: "kimi_k25",
  section: "text_config",
  defaults,
  block: { ...kimiK2.block, prefix: "language_model.model.layers.{layer}.mlp." },
};
