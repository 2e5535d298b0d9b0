import { cp, writeFile } from "node:fs/promises";
import { join } from "node:path";
import create from "@moiety/backend-cpu";
import type { JsonObject } from "@moiety/checkpoints";
import { saveCheckpoint } from "@moiety/checkpoints/node";
import { randomKey } from "@moiety/core";
import { initModel, saveModel } from "@moiety/models";

const SIZES: JsonObject = {
  model_type: "olmoe",
  vocab_size: 256,
  hidden_size: 32,
  intermediate_size: 32,
  num_attention_heads: 4,
  num_experts: 8,
  num_experts_per_tok: 2,
  num_hidden_layers: 2,
  // Larger than usual, so that the likeliest token is clear.
  initializer_range: 0.3,
};

/** Saves a small model with random weights that speaks bytes. */
export async function saveSmallModel(folder: string, values: JsonObject = {}): Promise<void> {
  const backend = await create();
  try {
    const ready = initModel({ ...SIZES, ...values }, randomKey(3), { backend });
    await saveModel((content) => saveCheckpoint(folder, content), ready);
  } finally {
    await backend.dispose();
  }
}

const tokenizerFiles = join(import.meta.dirname, "../../../models/src/text/testdata");

/** Saves one with a tokenizer and a chat template. */
export async function saveChatModel(folder: string): Promise<void> {
  await saveSmallModel(folder, { vocab_size: 300 });
  for (const file of ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]) {
    // oxlint-disable-next-line no-await-in-loop -- three small files
    await cp(join(tokenizerFiles, file), join(folder, file));
  }
}

/** Puts a `generation_config.json` that ends at a token. */
export async function writeStop(folder: string, token: number): Promise<void> {
  await writeFile(join(folder, "generation_config.json"), JSON.stringify({ eos_token_id: token }));
}
