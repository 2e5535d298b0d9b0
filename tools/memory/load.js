// Measures what loading a model holds on the host beside what its backend holds: makes a sharded
// checkpoint of random values in the per-expert layout, loads it, and samples the process at each tensor
// after a forced collection. Run it by hand with `node --expose-gc tools/memory/load.js --backend wasm`,
// once the packages were built.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import createCpu from "@moiety/backend-cpu";
import createWasm from "@moiety/backend-wasm";
import { bindRules } from "@moiety/checkpoints";
import { openCheckpoint, saveCheckpoint } from "@moiety/checkpoints/node";
import { loadModel, modelFromConfig, modelRules, shapesByPath } from "@moiety/models";

/** One matrix of an expert has a million values. */
const HIDDEN = 1024;
const EXPERTS = 16;
const VALUES_OF_LAYER = EXPERTS * 3 * HIDDEN * HIDDEN;
const MAX_SHARD_BYTES = 2 ** 28;
/** @type {Record<string, { dtype: "BF16" | "F32", elementBytes: number }>} */
const STORED = { BF16: { dtype: "BF16", elementBytes: 2 }, F32: { dtype: "F32", elementBytes: 4 } };

await main();

async function main() {
  const { values: options } = parseArgs({
    options: {
      bytes: { type: "string", default: String(2 ** 30) },
      backend: { type: "string", default: "cpu" },
      stored: { type: "string", default: "BF16" },
    },
  });
  const stored = STORED[options.stored];
  if (stored === undefined) throw new Error(`--stored may be ${Object.keys(STORED).join(" or ")}`);
  const layers = Math.max(
    1,
    Math.round(Number(options.bytes) / stored.elementBytes / VALUES_OF_LAYER),
  );
  const folder = await mkdtemp(join(tmpdir(), "moiety-memory-"));
  try {
    await write(folder, layers, stored);
    process.stdout.write(`${JSON.stringify(await measure(folder, options.backend))}\n`);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/**
 * @param {string} folder
 * @param {number} layers
 * @param {(typeof STORED)[string]} stored
 */
async function write(folder, layers, { dtype, elementBytes }) {
  const { model, config } = modelFromConfig({
    model_type: "olmoe",
    vocab_size: 1024,
    hidden_size: HIDDEN,
    intermediate_size: HIDDEN,
    num_hidden_layers: layers,
    num_attention_heads: 8,
    num_experts: EXPERTS,
    num_experts_per_tok: 2,
  });
  const sizes = { layer: Array.from({ length: layers }, (_, layer) => layer), expert: EXPERTS };
  const bindings = bindRules(modelRules(config.family), sizes, shapesByPath(model.shapes));
  const tensors = bindings.flatMap(({ parts }) =>
    parts.map(({ name, shape, size }) => ({
      name,
      dtype,
      shape,
      bytes: () => someBytes(size * elementBytes),
    })),
  );
  await saveCheckpoint(folder, {
    config: config.document,
    tensors,
    maxShardBytes: MAX_SHARD_BYTES,
  });
}

/**
 * Bytes that are small finite floats in either dtype.
 *
 * @param {number} length
 */
function someBytes(length) {
  const bytes = new Uint8Array(length);
  for (let index = 1; index < length; index += 2) {
    bytes[index - 1] = index % 251;
    bytes[index] = 0x3c;
  }
  return bytes;
}

/**
 * @param {string} folder
 * @param {string} name
 */
async function measure(folder, name) {
  const { gc } = globalThis;
  if (gc === undefined) throw new Error("run it with node --expose-gc");
  // Memory that threads share is not counted by Node.
  const backend = await (name === "wasm" ? createWasm({ threads: 1 }) : createCpu());
  const checkpoint = await openCheckpoint(folder);
  let [peak, samples, last] = [0, 0, ""];
  const sample = () => {
    gc();
    // What Node calls external has the array buffers in it.
    const { external } = process.memoryUsage();
    peak = Math.max(peak, external - backend.statistics().liveBytes);
    samples++;
  };
  sample();
  const begin = performance.now();
  const { params } = await loadModel(checkpoint, {
    backend,
    onProgress({ tensor }) {
      if (tensor !== last) sample();
      last = tensor;
    },
  });
  sample();
  const infos = [...checkpoint.tensors.values()];
  await checkpoint.close();
  const { liveBytes } = backend.statistics();
  return {
    backend: name,
    node: process.version,
    tensors: infos.length,
    checkpointBytes: infos.reduce((sum, { byteLength }) => sum + byteLength, 0),
    largestTensorBytes: Math.max(...infos.map(({ byteLength }) => byteLength)),
    backendBytes: liveBytes,
    layers: params.layers.length,
    samples,
    peakBesideBackend: peak,
    maxResidentBytes: process.resourceUsage().maxRSS * 1024,
    seconds: (performance.now() - begin) / 1000,
  };
}
