import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  CheckpointMismatchError,
  type TensorEntry,
  bytesSource,
  encodeSafetensors,
  openSafetensors,
} from "@moiety/checkpoints";
import {
  type Backend,
  ConfigError,
  NumericError,
  apply,
  isTensor,
  leavesOf,
  quantizedFormats,
  randomKey,
  storedFormat,
} from "@moiety/core";
import { initModel } from "../init-model.ts";
import { type ModelSource, type ReadyModel, loadModel } from "../load.ts";
import { blockConfig, contentOf, gptOss, quantizedBackends } from "../testing/quantized.ts";
import { saveToMemory, tokens } from "../testing/tiny.ts";
import { type ExpertFormat, expertFormats } from "./quantization.ts";
import { quantize } from "./quantize.ts";

const FORMATS = Object.keys(expertFormats) as ExpertFormat[];

async function logitsOf({ model, params, state }: ReadyModel): Promise<number[]> {
  const ids = tokens(params.norm.backend, 1, 6);
  return [...(await apply(model, params, state, ids).logits.read())];
}

/** A source with one tensor of another content. */
async function changed(
  entries: Iterable<TensorEntry>,
  config: ModelSource["config"],
  name: string,
  change: (entry: TensorEntry) => TensorEntry | undefined,
): Promise<ModelSource> {
  const others = [...entries].flatMap((entry) =>
    entry.name === name ? (change(entry) ?? []) : entry,
  );
  const file = await openSafetensors(bytesSource(await encodeSafetensors(others)));
  return { ...file, config };
}

describe.each(Object.keys(quantizedBackends))("a quantised model on disk, on %s", (name) => {
  let backend: Backend;
  let ready: ReadyModel;

  beforeAll(async () => {
    backend = await (quantizedBackends[name] as () => Promise<Backend>)();
    ready = initModel(blockConfig, randomKey(5), { backend });
  });

  afterAll(() => backend.dispose());

  it.each(FORMATS)("comes back as it was, and says what it is: %s", async (experts) => {
    const small = await quantize(ready, { experts, rest: "f16" });
    const { content, source, warnings } = await saveToMemory(small);
    expect(warnings).toEqual([expect.stringContaining(`the experts are in ${experts}`)]);
    expect(content.config.value["quantization_config"]).toEqual({
      quant_method: "moiety",
      experts,
      rest: "f16",
    });
    const { codesPerByte, block, zeroPoint } =
      quantizedFormats[storedFormat(expertFormats[experts])];
    const gate = "model.layers.1.mlp.experts.3.gate_proj.weight";
    expect(source.tensors.get(gate)).toMatchObject({ dtype: "U8", shape: [64, 32 / codesPerByte] });
    expect(source.tensors.get(`${gate}_scale`)).toMatchObject({
      dtype: zeroPoint === undefined ? "U8" : "F32",
      shape: block === undefined ? [64] : [64, 32 / block],
    });
    expect(source.tensors.get("lm_head.weight")?.dtype).toBe("F16");
    expect(source.tensors.get("model.norm.weight")?.dtype).toBe("F32");
    const again = await loadModel(source, { backend });
    expect(await contentOf(again)).toEqual(await contentOf(small));
    expect(await logitsOf(again)).toEqual(await logitsOf(small));
    const second = await saveToMemory(again);
    expect(await encodeSafetensors(second.content.tensors)).toEqual(
      await encodeSafetensors(content.tensors),
    );
    expect(second.content.config.value).toEqual(content.config.value);
  });

  it.each(FORMATS)("is quantised as it is loaded as it would be behind: %s", async (experts) => {
    const { source } = await saveToMemory(ready);
    for (const rest of [undefined, "bf16"] as const) {
      const loaded = await loadModel(source, { backend, quantize: { experts, rest } });
      const behind = await quantize(await loadModel(source, { backend }), { experts, rest });
      expect(await contentOf(loaded)).toEqual(await contentOf(behind));
      expect(loaded.config.document.value).toEqual(behind.config.document.value);
      expect(loaded.model.config).toEqual(behind.model.config);
      const [first, second] = [await saveToMemory(loaded), await saveToMemory(behind)];
      expect([...second.source.tensors.values()]).toEqual([...first.source.tensors.values()]);
    }
  });
});

describe("loading with quantize", () => {
  let backend: Backend;
  let ready: ReadyModel;

  beforeAll(async () => {
    backend = await (quantizedBackends["cpu"] as () => Promise<Backend>)();
    ready = initModel(blockConfig, randomKey(5), { backend });
  });

  afterAll(() => backend.dispose());

  it("never holds experts in floats, nor more than one other leaf beside its halves", async () => {
    const { source } = await saveToMemory(ready);
    for (const rest of [undefined, "f16"] as const) {
      const own = await (quantizedBackends["cpu"] as () => Promise<Backend>)();
      const { params } = await loadModel(source, {
        backend: own,
        quantize: { experts: "q4_32", rest },
      });
      const { peakBytes, liveBytes } = own.statistics();
      const others = leavesOf(params).map(({ leaf }) => (isTensor(leaf) ? leaf.size : 0));
      // What a cast and the look for numbers that are not finite make of one leaf, in 32 bits each.
      const beside = rest === undefined ? 0 : Math.max(...others) * 4 * 9;
      expect(peakBytes).toBeLessThanOrEqual(liveBytes + beside);
      await own.dispose();
    }
  });

  it("turns experts that lie [in, out]", async () => {
    const given = initModel(gptOss, randomKey(5), { backend });
    const { source } = await saveToMemory(given);
    const exact = await logitsOf(given);
    for (const experts of ["q8_row", "q8_32"] as const) {
      const loaded = await loadModel(source, { backend, quantize: { experts } });
      const behind = await quantize(given, { experts });
      expect(await contentOf(loaded)).toEqual(await contentOf(behind));
      const found = await logitsOf(loaded);
      for (const [index, value] of exact.entries()) expect(found[index]).toBeCloseTo(value, 1);
      const again = await loadModel((await saveToMemory(loaded)).source, { backend });
      expect(await contentOf(again)).toEqual(await contentOf(loaded));
    }
  });

  it("keeps the numbers of MXFP4 as it keeps them", async () => {
    const small = await quantize(initModel(gptOss, randomKey(5), { backend }), {
      experts: "mxfp4",
    });
    const { content } = await saveToMemory(small);
    // The layout of gpt-oss's own files.
    const entries = [...content.tensors].map((entry) => {
      const { name, shape } = entry;
      if (!/_proj(_scale)?$/.test(name) || !name.includes("experts")) return entry;
      if (name.endsWith("_scale")) return { ...entry, name: `${name}s` };
      const blocks = [...shape.slice(0, -1), (shape.at(-1) ?? 0) / 16, 16];
      return { ...entry, name: `${name}_blocks`, shape: blocks };
    });
    const value = { ...content.config.value, quantization_config: { quant_method: "mxfp4" } };
    const file = await openSafetensors(bytesSource(await encodeSafetensors(entries)));
    expect([...file.tensors.keys()]).toContain("model.layers.1.mlp.experts.down_proj_blocks");
    const source = { ...file, config: { ...content.config, value } };
    const loaded = await loadModel(source, { backend, quantize: { experts: "mxfp4" } });
    const floats = await loadModel(source, { backend });
    expect(await logitsOf(loaded)).toEqual(await logitsOf(small));
    expect(await logitsOf(loaded)).toEqual(await logitsOf(floats));
  });

  it("keeps halves without any codes, and makes full floats of them", async () => {
    const halves = await quantize(ready, { rest: "bf16" });
    const { source, warnings } = await saveToMemory(halves);
    expect(warnings).toEqual([expect.stringContaining("matrices are in bf16")]);
    expect(await contentOf(await loadModel(source, { backend }))).toEqual(await contentOf(halves));
    const full = await loadModel(source, { backend, quantize: { rest: "f32" } });
    const behind = await quantize(halves, { rest: "f32" });
    expect(await contentOf(full)).toEqual(await contentOf(behind));
  });

  it("refuses what it cannot hold before anything is allocated", async () => {
    const { source } = await saveToMemory(ready);
    const small = await saveToMemory(await quantize(ready, { experts: "q8_row" }));
    const before = backend.statistics().liveBuffers;
    const load = (from: ModelSource, experts: string): Promise<ReadyModel> =>
      loadModel(from, { backend, quantize: { experts: experts as ExpertFormat } });
    await expect(load(source, "q5")).rejects.toThrow(/experts is "q5"/);
    await expect(load(small.source, "q4_32")).rejects.toThrow(ConfigError);
    const odd = initModel({ ...blockConfig, moe_intermediate_size: 40 }, randomKey(5), { backend });
    const narrow = await saveToMemory(odd);
    const held = backend.statistics().liveBuffers;
    await expect(load(narrow.source, "mxfp4")).rejects.toThrow(
      "layers.1.moe.experts.down [4, 32, 40]",
    );
    expect(backend.statistics().liveBuffers).toBe(held);
    for (const { leaf } of leavesOf(odd.params)) if (isTensor(leaf)) leaf.dispose();
    expect(backend.statistics().liveBuffers).toBe(before);
  });

  it("names experts that are not finite, and leaves nothing behind", async () => {
    const { content } = await saveToMemory(ready);
    const name = "model.layers.2.mlp.experts.1.up_proj.weight";
    const source = await changed(content.tensors, content.config, name, (entry) => ({
      ...entry,
      bytes: async () => {
        const bytes = (await entry.bytes()).slice();
        new DataView(bytes.buffer).setFloat32(400, Number.NaN, true);
        return bytes;
      },
    }));
    const before = backend.statistics().liveBuffers;
    const loading = loadModel(source, { backend, quantize: { experts: "q4_32" } });
    await expect(loading).rejects.toThrow(NumericError);
    await expect(loading).rejects.toThrow("layers.2.moe.experts.gateUp, rows of expert 1");
    expect(backend.statistics().liveBuffers).toBe(before);
  });

  it("names scales that are missing, and codes of another shape", async () => {
    const small = await quantize(ready, { experts: "q4_32" });
    const { content } = await saveToMemory(small);
    const codes = "model.layers.1.mlp.experts.0.down_proj.weight";
    const without = await changed(
      content.tensors,
      content.config,
      `${codes}_scale`,
      () => undefined,
    );
    await expect(loadModel(without, { backend })).rejects.toThrow(CheckpointMismatchError);
    await expect(loadModel(without, { backend })).rejects.toThrow(`${codes}_scale`);
    const flat = await changed(content.tensors, content.config, codes, (entry) => ({
      ...entry,
      shape: [16, 64],
    }));
    await expect(loadModel(flat, { backend })).rejects.toThrow(CheckpointMismatchError);
  });
});
