import createCpu from "@moiety/backend-cpu";
import { encodeSafetensors, formatJsonDocument, hostEntry } from "@moiety/checkpoints";
import { randomKey } from "@moiety/core";
import { initModel, saveModel } from "@moiety/models";

/** @typedef {import("./minimal-reader.js").Files} Files */
/** @typedef {import("@moiety/checkpoints").TensorEntry} TensorEntry */
/** @typedef {import("@moiety/checkpoints").SafetensorsDtype} SafetensorsDtype */

/** The model that the samples are of: every kind of leaf, and as small as blocks of 32 allow. */
const CONFIG = {
  model_type: "olmoe",
  vocab_size: 16,
  hidden_size: 32,
  intermediate_size: 8,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_experts: 2,
  num_experts_per_tok: 1,
};
const QUERY = "model.layers.0.self_attn.q_proj.weight";
/** Sides of a block of F8 values that share a factor. */
const BLOCK = 16;
const SHARDS = 3;
/** @type {readonly SafetensorsDtype[]} */
const DTYPES = ["F32", "BF16", "F16", "F64"];
const FILE = "model.safetensors";

/**
 * Folders that are well: one file, shards, MXFP4 codes, F8 with factors, and tensors of all dtypes.
 *
 * @returns {Promise<Files[]>}
 */
export async function sampleFolders() {
  const backend = await createCpu();
  const { entries, config } = await plainModel(backend);
  await backend.dispose();
  const others = entries.filter(({ name }) => name !== QUERY);
  return [
    await folderOf(config, { [FILE]: entries }),
    await shardedFolder(config, entries),
    await folderOf(
      { ...config, quantization_config: { quant_method: "mxfp4" } },
      {
        [FILE]: [...others, ...microscaled()],
      },
    ),
    await folderOf(
      { ...config, quantization_config: blocksConfig },
      {
        [FILE]: [...others, ...scaled()],
      },
    ),
    await folderOf(config, { [FILE]: allDtypes() }),
  ];
}

const blocksConfig = {
  quant_method: "fp8",
  fmt: "e4m3",
  activation_scheme: "dynamic",
  weight_block_size: [BLOCK, BLOCK],
};

/** @param {import("@moiety/core").Backend} backend */
async function plainModel(backend) {
  const ready = initModel(CONFIG, randomKey(1), { backend });
  /** @type {TensorEntry[]} */
  const entries = [];
  /** @type {Record<string, unknown>} */
  let config = {};
  await saveModel(async (content) => {
    config = JSON.parse(formatJsonDocument(content.config));
    for (const [index, { name, shape, bytes }] of [...content.tensors].entries()) {
      const values = await bytes();
      const data = new Float32Array(values.buffer, values.byteOffset, values.length / 4).slice();
      const dtype = DTYPES[index % DTYPES.length];
      entries.push(hostEntry(name, { dtype: "f32", shape, data }, dtype));
    }
  }, ready);
  return { entries, config };
}

/**
 * @param {Record<string, unknown>} config
 * @param {TensorEntry[]} entries
 */
async function shardedFolder(config, entries) {
  /** @type {Record<string, TensorEntry[]>} */
  const shards = {};
  /** @type {Record<string, string>} */
  const map = {};
  for (const [index, entry] of entries.entries()) {
    const file = `model-0000${(index % SHARDS) + 1}-of-0000${SHARDS}.safetensors`;
    (shards[file] ??= []).push(entry);
    map[entry.name] = file;
  }
  const folder = new Map(await folderOf(config, shards));
  const index = { metadata: { total_size: 1 }, weight_map: map };
  return folder.set("model.safetensors.index.json", utf8(JSON.stringify(index)));
}

/**
 * @param {unknown} config
 * @param {Record<string, TensorEntry[]>} files
 */
async function folderOf(config, files) {
  /** @type {Map<string, Uint8Array>} */
  const folder = new Map([["config.json", utf8(JSON.stringify(config))]]);
  for (const [file, entries] of Object.entries(files)) {
    folder.set(file, await encodeSafetensors(entries, { format: "pt" }));
  }
  return folder;
}

/** @returns {TensorEntry[]} */
function microscaled() {
  const { hidden_size: size } = CONFIG;
  return [
    bytesEntry(`${QUERY}_blocks`, "U8", [size, size / 32, 16], (at) => at % 256),
    bytesEntry(`${QUERY}_scales`, "U8", [size, size / 32], (at) => 120 + (at % 12)),
  ];
}

/** @returns {TensorEntry[]} */
function scaled() {
  const { hidden_size: size } = CONFIG;
  const count = size / BLOCK;
  const data = Float32Array.from({ length: count * count }, (_, at) => 2 ** (at - 2));
  return [
    bytesEntry(QUERY, "F8_E4M3", [size, size], (at) => at % 120),
    hostEntry(`${QUERY}_scale_inv`, { dtype: "f32", shape: [count, count], data }),
  ];
}

/** @returns {TensorEntry[]} */
function allDtypes() {
  /** @type {[SafetensorsDtype, number][]} */
  const widths = [
    ["BOOL", 1],
    ["U8", 1],
    ["I8", 1],
    ["F8_E5M2", 1],
    ["F8_E4M3", 1],
    ["I16", 2],
    ["U16", 2],
    ["F16", 2],
    ["BF16", 2],
    ["I32", 4],
    ["U32", 4],
    ["F32", 4],
    ["F64", 8],
    ["I64", 8],
    ["U64", 8],
  ];
  return widths.map(([dtype, width]) =>
    // The lowest byte of each is set alone, so that all integers fit 32 bits.
    bytesEntry(dtype, dtype, [2, 3], (at) => (dtype === "BOOL" ? at % 2 : at % width ? 0 : at + 1)),
  );
}

/**
 * @param {string} name
 * @param {SafetensorsDtype} dtype
 * @param {number[]} shape
 * @param {(at: number) => number} byteAt
 * @returns {TensorEntry}
 */
function bytesEntry(name, dtype, shape, byteAt) {
  const width = Number(/\d+$/.exec(dtype.replace(/^F8.*/, "F8"))?.[0] ?? 8) / 8;
  const length = shape.reduce((product, size) => product * size, width);
  const bytes = Uint8Array.from({ length }, (_, at) => byteAt(at));
  return { name, dtype, shape, bytes: () => bytes };
}

/** @param {string} text */
function utf8(text) {
  return new TextEncoder().encode(text);
}
