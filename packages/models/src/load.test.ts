import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import {
  CheckpointMismatchError,
  type JsonObject,
  type TensorInfo,
  type TensorView,
  jsonDocument,
  toHost,
} from "@moiety/checkpoints";
import { openCheckpoint, saveCheckpoint } from "@moiety/checkpoints/node";
import {
  type Backend,
  ConfigError,
  UnsupportedError,
  at,
  isTensor,
  leavesOf,
  randomKey,
} from "@moiety/core";
import { initModel } from "./init-model.ts";
import type { LoadProgress } from "./load-progress.ts";
import { type ModelSource, type ReadyModel, loadModel } from "./load.ts";
import { saveModel } from "./save.ts";
import { saveToMemory, tinyConfigs } from "./testing/tiny.ts";

let backend: Backend;
let folder: string;

beforeAll(async () => {
  backend = await create();
  folder = await mkdtemp(join(tmpdir(), "moiety-load-"));
});
afterAll(async () => {
  await backend.dispose();
  await rm(folder, { recursive: true });
});

const tiny = (family: string): JsonObject => tinyConfigs[family] ?? {};

async function expectEqualLeaves(one: ReadyModel, other: ReadyModel): Promise<void> {
  for (const { path, leaf } of leavesOf(one.params)) {
    const same = at(other.params, path);
    if (!isTensor(leaf) || !isTensor(same)) throw new Error(`${path} is no tensor`);
    expect(await same.read(), path).toEqual(await leaf.read());
  }
}

describe("loadModel", () => {
  it("tells how far it is, byte by byte and tensor by tensor", async () => {
    const ready = initModel(tiny("qwen2_moe"), randomKey(2), { backend });
    const { source } = await saveToMemory(ready);
    const told: LoadProgress[] = [];
    await loadModel(source, { backend, onProgress: (progress) => told.push(progress) });
    const total = [...source.tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
    expect(told.at(-1)).toMatchObject({ bytes: total, totalBytes: total });
    expect(new Set(told.map(({ tensor }) => tensor))).toEqual(new Set(source.tensors.keys()));
    for (const [index, { bytes, bytesPerSecond }] of told.entries()) {
      expect(bytes).toBeGreaterThan(told[index - 1]?.bytes ?? 0);
      expect(bytesPerSecond).toBeGreaterThan(0);
    }
  });

  it("frees everything when it is ended at any tensor, or a tensor cannot be read", async () => {
    const { source } = await saveToMemory(initModel(tiny("olmoe"), randomKey(2), { backend }));
    const before = backend.statistics();
    for (let most = 0; most < source.tensors.size; most += 5) {
      const signal = { aborted: most === 0, reason: new Error("enough") };
      let count = 0;
      const onProgress = (): void => {
        count++;
        signal.aborted = count >= most;
      };
      await expect(loadModel(source, { backend, signal, onProgress })).rejects.toBe(signal.reason);
      expect(count).toBe(most);
      expect(backend.statistics()).toMatchObject({
        liveBuffers: before.liveBuffers,
        liveBytes: before.liveBytes,
        liveTensors: before.liveTensors,
      });
    }
    const gone = new Error("the disk is gone");
    const broken: ModelSource = {
      ...source,
      readInto: (name, start, target) =>
        name === "model.norm.weight" ? Promise.reject(gone) : source.readInto(name, start, target),
    };
    await expect(loadModel(broken, { backend })).rejects.toBe(gone);
    expect(backend.statistics().liveBytes).toBe(before.liveBytes);
  });

  it.each([
    [
      "num_hidden_layers",
      1e9,
      ConfigError,
      /num_hidden_layers is 1000000000, but there are only \d+ tensors/,
    ],
    [
      "num_experts",
      2 ** 40,
      ConfigError,
      /experts of layer 0 is 1099511627776, but no tensor has more than/,
    ],
    ["vocab_size", 2 ** 45, CheckpointMismatchError, /embed_tokens.weight is \[13, 8\]/],
  ] as const)("refuses %s of %d before it builds it", async (key, value, kind, text) => {
    const { source } = await saveToMemory(initModel(tiny("qwen3_moe"), randomKey(1), { backend }));
    const config = jsonDocument({ ...source.config.value, [key]: value });
    const load = loadModel({ ...source, config }, { backend });
    await expect(load).rejects.toThrow(kind);
    await expect(load).rejects.toThrow(text);
  });
});

describe("a model in shards", () => {
  it.each(["olmoe", "granitemoe", "mixtral"])("%s comes back as it was", async (family) => {
    const sizes = { ...tiny("olmoe"), num_local_experts: 4, model_type: family };
    const { attention_bias: _, clip_qkv: __, ...config } = sizes as JsonObject;
    const ready = initModel(config, randomKey(5), { backend });
    const target = join(folder, family);
    await saveModel(
      (content) => saveCheckpoint(target, { ...content, maxShardBytes: 1500 }),
      ready,
    );
    const checkpoint = await openCheckpoint(target);
    const again = await loadModel(checkpoint, { backend });
    await expectEqualLeaves(ready, again);
    const copy = join(folder, `${family}-copy`);
    await saveModel((content) => saveCheckpoint(copy, { ...content, maxShardBytes: 1e9 }), again);
    const other = await openCheckpoint(copy);
    expect([...other.tensors.keys()].sort()).toEqual([...checkpoint.tensors.keys()].sort());
    for (const name of other.tensors.keys()) {
      expect((await other.read(name)).bytes).toEqual((await checkpoint.read(name)).bytes);
    }
    await other.close();
    await checkpoint.close();
  });
});

/** A source with some tensors in the place of others. */
function replaced(
  source: ModelSource,
  quantization: JsonObject,
  tensors: ReadonlyMap<string, TensorView[]>,
): ModelSource {
  const views = new Map([...tensors.values()].flat().map((view) => [view.name, view]));
  const infos = [...source.tensors.values()].flatMap((info): TensorInfo[] => {
    const others = tensors.get(info.name);
    if (others === undefined) return [info];
    return others.map(({ name, dtype, shape, bytes }) => ({
      name,
      dtype,
      shape,
      offset: 0,
      byteLength: bytes.length,
    }));
  });
  return {
    ...source,
    config: jsonDocument({ ...source.config.value, quantization_config: quantization }),
    tensors: new Map(infos.map((info) => [info.name, info])),
    read: async (name) => views.get(name) ?? source.read(name),
    readInto: async (name, start, target) => {
      const view = views.get(name);
      if (view === undefined) return source.readInto(name, start, target);
      target.set(view.bytes.subarray(start, start + target.length));
    },
  };
}

describe("weights that are held as codes and scales", () => {
  const name = "model.layers.0.self_attn.q_proj.weight";
  const config = { ...tinyConfigs["qwen3_moe"], hidden_size: 32, head_dim: 8 };
  const fp8 = { quant_method: "fp8", fmt: "e4m3", activation_scheme: "dynamic" };

  it("reads F8 with a factor for each block", async () => {
    const { source } = await saveToMemory(initModel(config, randomKey(1), { backend }));
    const shape = source.tensors.get(name)?.shape ?? [];
    const codes = Uint8Array.from({ length: 32 * 32 }, (_, index) => index % 100);
    const factors = Float32Array.of(1, 2, 4, 8);
    const held = replaced(
      source,
      { ...fp8, weight_block_size: [16, 16] },
      new Map([
        [
          name,
          [
            { name, dtype: "F8_E4M3", shape, bytes: codes },
            {
              name: `${name}_scale_inv`,
              dtype: "F32",
              shape: [2, 2],
              bytes: new Uint8Array(factors.buffer),
            },
          ],
        ],
      ]),
    );
    const ready = await loadModel(held, { backend });
    const query = at(ready.params, "layers.0.attention.query");
    if (!isTensor(query)) throw new Error("no query projection");
    const values = toHost({ name, dtype: "F8_E4M3", shape, bytes: codes }, "f32").data;
    const expected = values.map((value, index) => {
      const [row, column] = [index >> 5, index & 31];
      return value * (factors[(row >> 4) * 2 + (column >> 4)] ?? 0);
    });
    expect(await query.read()).toEqual(expected);
    const { content } = await saveToMemory(ready);
    expect(content.config.value["quantization_config"]).toBeUndefined();
    expect([...content.tensors].find((entry) => entry.name === name)?.dtype).toBe("F32");
  });

  it("reads MXFP4 in the place of any tensor, and saves its values as BF16", async () => {
    const { source } = await saveToMemory(initModel(config, randomKey(1), { backend }));
    const codes = new Uint8Array(32 * 16).fill(0x42);
    const scales = new Uint8Array(32).fill(128);
    const held = replaced(
      source,
      { quant_method: "mxfp4" },
      new Map([
        [
          name,
          [
            { name: `${name}_blocks`, dtype: "U8", shape: [32, 1, 16], bytes: codes },
            { name: `${name}_scales`, dtype: "U8", shape: [32, 1], bytes: scales },
          ],
        ],
      ]),
    );
    const ready = await loadModel(held, { backend });
    const { content, source: saved } = await saveToMemory(ready);
    expect(content.config.value["quantization_config"]).toBeUndefined();
    const { dtype, bytes } = await saved.read(name);
    expect(dtype).toBe("BF16");
    const bits = new Uint16Array(bytes.buffer, bytes.byteOffset, 64);
    // Codes 2 and 4 are 1 and 2, the scale is 2: of the held rows, which are the columns of the tensor.
    expect([...new Set(bits.subarray(0, 32))]).toEqual([0x4000]);
    expect([...new Set(bits.subarray(32))]).toEqual([0x4080]);
    await expectEqualLeaves(ready, await loadModel(saved, { backend }));
  });

  it.each([
    [{ ...fp8 }, /weight_block_size is absent/],
    [{ ...fp8, weight_block_size: [128] }, /weight_block_size is \[128\]/],
    [{ ...fp8, weight_block_size: [128, 0] }, /weight_block_size/],
    [{ ...fp8, fmt: "e5m2", weight_block_size: [128, 128] }, /fmt is "e5m2"/],
    [{ ...fp8, activation_scheme: "static", weight_block_size: [1, 1] }, /activation_scheme/],
    [{ quant_method: "gptq", bits: 4 }, /quantization_config/],
  ])("refuses %j by name", async (quantization, text) => {
    const { source } = await saveToMemory(initModel(config, randomKey(1), { backend }));
    const load = loadModel(replaced(source, quantization, new Map()), { backend });
    await expect(load).rejects.toThrow(UnsupportedError);
    await expect(load).rejects.toThrow(text);
  });
});
