import { UnsupportedError } from "@moiety/core";
import type { Family } from "../family.ts";
import { afmoe } from "./afmoe.ts";
import { aria } from "./aria.ts";
import { cohere2Moe } from "./cohere2-moe.ts";
import { dbrx } from "./dbrx.ts";
import { deepseekV2 } from "./deepseek-v2.ts";
import { deepseekV3 } from "./deepseek-v3.ts";
import { deepseekV32 } from "./deepseek-v32.ts";
import { deepseekV4 } from "./deepseek-v4.ts";
import { doge } from "./doge.ts";
import { dots1 } from "./dots1.ts";
import { ernie45Moe } from "./ernie4-5-moe.ts";
import { exaoneMoe } from "./exaone-moe.ts";
import { flexOlmo } from "./flex-olmo.ts";
import { gemma4 } from "./gemma4.ts";
import { glam } from "./glam.ts";
import { glm4Moe, glm4MoeLite, glm4vMoe, glmMoeDsa } from "./glm4-moe.ts";
import { glm5Next } from "./glm5-next.ts";
import { gptOss } from "./gpt-oss.ts";
import { granitemoe } from "./granitemoe.ts";
import { granitemoehybrid, granitemoeshared } from "./granitemoeshared.ts";
import { grok1 } from "./grok-1.ts";
import { gshard } from "./gshard.ts";
import { hunyuanV1Moe } from "./hunyuan-v1-moe.ts";
import { hyV3 } from "./hy-v3.ts";
import { hyV4 } from "./hy-v4.ts";
import { inkling } from "./inkling.ts";
import { jamba } from "./jamba.ts";
import { jetmoe } from "./jetmoe.ts";
import { kimiK2, kimiK25 } from "./kimi-k2.ts";
import { kimiLinear } from "./kimi-linear.ts";
import { laguna } from "./laguna.ts";
import { lfm2Moe } from "./lfm2-moe.ts";
import { llama4 } from "./llama4.ts";
import { longcatFlash } from "./longcat-flash.ts";
import { mimoV2Flash } from "./mimo-v2-flash.ts";
import { minimax } from "./minimax.ts";
import { minimaxM2 } from "./minimax-m2.ts";
import { minimaxM3Vl } from "./minimax-m3-vl.ts";
import { mistral4 } from "./mistral4.ts";
import { mixtral } from "./mixtral.ts";
import { nemotronH } from "./nemotron-h.ts";
import { nllbMoe } from "./nllb-moe.ts";
import { olmoe } from "./olmoe.ts";
import { phimoe } from "./phimoe.ts";
import { qwen2Moe } from "./qwen2-moe.ts";
import { qwen3Moe } from "./qwen3-moe.ts";
import { qwen35Moe, qwen3Next } from "./qwen3-next.ts";
import { qwen3VlMoe } from "./qwen3-vl-moe.ts";
import { solarOpen } from "./solar-open.ts";
import { step3 } from "./step3.ts";
import { step3p7 } from "./step3p7.ts";
import { switchTransformers } from "./switch-transformers.ts";
import { zaya } from "./zaya.ts";
import { show } from "../show.ts";

/** Every family by its `model_type`. Those without `decoder` have their block alone. */
export const families: Readonly<Record<string, Family>> = {
  afmoe,
  aria,
  cohere2_moe: cohere2Moe,
  dbrx,
  deepseek_v2: deepseekV2,
  deepseek_v3: deepseekV3,
  deepseek_v32: deepseekV32,
  deepseek_v4: deepseekV4,
  doge,
  dots1,
  ernie4_5_moe: ernie45Moe,
  exaone_moe: exaoneMoe,
  flex_olmo: flexOlmo,
  gemma4,
  glam,
  glm4_moe: glm4Moe,
  glm4_moe_lite: glm4MoeLite,
  glm4v_moe: glm4vMoe,
  glm5_next: glm5Next,
  glm_moe_dsa: glmMoeDsa,
  gpt_oss: gptOss,
  granitemoe,
  granitemoehybrid,
  granitemoeshared,
  "grok-1": grok1,
  gshard,
  hunyuan_v1_moe: hunyuanV1Moe,
  hy_v3: hyV3,
  hy_v4: hyV4,
  inkling_mm_model: inkling,
  jamba,
  jetmoe,
  kimi_k2: kimiK2,
  kimi_k25: kimiK25,
  kimi_linear: kimiLinear,
  laguna,
  lfm2_moe: lfm2Moe,
  llama4,
  longcat_flash: longcatFlash,
  mimo_v2_flash: mimoV2Flash,
  minimax,
  minimax_m2: minimaxM2,
  minimax_m3_vl: minimaxM3Vl,
  mistral4,
  mixtral,
  nemotron_h: nemotronH,
  nllb_moe: nllbMoe,
  olmoe,
  phimoe,
  qwen2_moe: qwen2Moe,
  qwen3_5_moe: qwen35Moe,
  qwen3_moe: qwen3Moe,
  qwen3_next: qwen3Next,
  qwen3_vl_moe: qwen3VlMoe,
  solar_open: solarOpen,
  step3_text: step3,
  step3p7,
  switch_transformers: switchTransformers,
  zaya,
};

/** The family of a `model_type`. @throws UnsupportedError for one that is not built */
export function familyOf(modelType: unknown): Family {
  if (typeof modelType === "string" && Object.hasOwn(families, modelType)) {
    const family = families[modelType];
    if (family) return family;
  }
  const built = Object.keys(families).join(", ");
  throw new UnsupportedError(
    `model_type ${show(modelType)} is not built; there are ${built}`,
    `model_type ${String(modelType)}`,
  );
}
