import { loadModel } from "@moiety/models";
import { isTensor, leavesOf } from "@moiety/core";
import { matrixOf, readFolder, readJson } from "./minimal-reader.js";

/** @typedef {import("./minimal-reader.js").Files} Files */

/** Where the parts of OLMoE's leaves stand, by the ends of the leaves' paths. */
const OF_LAYER = /** @type {Record<string, string>} */ ({
  attentionNorm: "input_layernorm.weight",
  ffnNorm: "post_attention_layernorm.weight",
  "attention.query": "self_attn.q_proj.weight",
  "attention.key": "self_attn.k_proj.weight",
  "attention.value": "self_attn.v_proj.weight",
  "attention.output": "self_attn.o_proj.weight",
  "attention.queryNorm": "self_attn.q_norm.weight",
  "attention.keyNorm": "self_attn.k_norm.weight",
  "moe.router.weight": "mlp.gate.weight",
});
const OUTSIDE = /** @type {Record<string, string>} */ ({
  embedding: "model.embed_tokens.weight",
  norm: "model.norm.weight",
  head: "lm_head.weight",
});
const EXPERTS = /** @type {Record<string, string[]>} */ ({
  "moe.experts.gateUp": ["gate_proj", "up_proj"],
  "moe.experts.down": ["down_proj"],
});

/**
 * Loads a model and compares every leaf, bit for bit, with what the minimal reader gets. Frees it again.
 *
 * @param {import("@moiety/checkpoints").Checkpoint} checkpoint
 * @param {Files} files
 * @param {import("@moiety/core").Backend} backend
 */
export async function checkModel(checkpoint, files, backend) {
  const { params } = await loadModel(checkpoint, { backend });
  const leaves = leavesOf(params);
  try {
    const tensors = readFolder(files);
    const config = readJson(files, "config.json");
    const blockSize = config.quantization_config?.weight_block_size;
    for (const { path, leaf } of leaves) {
      if (!isTensor(leaf)) throw new Error(`${path} is no tensor`);
      const expected = namesOf(path, leaf.shape[0] ?? 0).flatMap((name) =>
        matrixOf(tensors, name, blockSize),
      );
      const values = await leaf.read();
      const isSame =
        values.length === expected.length &&
        expected.every((value, index) => Object.is(values[index], Math.fround(value)));
      if (!isSame) throw new Error(`${path} has other values`);
    }
  } finally {
    for (const { leaf } of leaves) if (isTensor(leaf)) leaf.dispose();
  }
}

/**
 * The tensors of a leaf, in order.
 *
 * @param {string} path
 * @param {number} rows of the leaf
 */
function namesOf(path, rows) {
  const outside = OUTSIDE[path];
  if (outside) return [outside];
  const [, layer = "", rest = ""] = /^layers\.(\d+)\.(.*)$/.exec(path) ?? [];
  const prefix = `model.layers.${layer}.`;
  const experts = EXPERTS[rest];
  if (!experts) return [prefix + OF_LAYER[rest]];
  return Array.from({ length: rows }, (_, expert) =>
    experts.map((name) => `${prefix}mlp.experts.${expert}.${name}.weight`),
  ).flat();
}
