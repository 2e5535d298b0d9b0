import { UnsupportedError } from "@moiety/core";
import type { Family } from "../family.ts";
import { deepseekV3 } from "./deepseek-v3.ts";
import { mixtral } from "./mixtral.ts";
import { olmoe } from "./olmoe.ts";
import { qwen2Moe } from "./qwen2-moe.ts";
import { qwen3Moe } from "./qwen3-moe.ts";
import { switchTransformers } from "./switch-transformers.ts";

/** Every family by its `model_type`. Those without `decoder` have their block alone. */
export const families: Readonly<Record<string, Family>> = {
  deepseek_v3: deepseekV3,
  mixtral,
  olmoe,
  qwen2_moe: qwen2Moe,
  qwen3_moe: qwen3Moe,
  switch_transformers: switchTransformers,
};

/** The family of a `model_type`. @throws UnsupportedError for one that is not built */
export function familyOf(modelType: unknown): Family {
  if (typeof modelType === "string" && Object.hasOwn(families, modelType)) {
    const family = families[modelType];
    if (family) return family;
  }
  const built = Object.keys(families).join(", ");
  throw new UnsupportedError(
    `model_type ${JSON.stringify(modelType)} is not built; there are ${built}`,
    `model_type ${String(modelType)}`,
  );
}
