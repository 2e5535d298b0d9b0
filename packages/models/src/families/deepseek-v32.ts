import type { Family } from "../family.ts";
import { deepseekBlock, deepseekMoe } from "./deepseek.ts";
import { deepseekV3Defaults } from "./deepseek-v3.ts";

/** DeepSeek-V3.2 (arXiv 2512.02556); its block is that of DeepSeek-V3. */
export const deepseekV32: Family = {
  modelType: "deepseek_v32",
  defaults: deepseekV3Defaults,
  block: { ...deepseekBlock, moe: (config) => deepseekMoe(config) },
};
