import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import createWasm from "@moiety/backend-wasm";
import {
  type Backend,
  type Tensor,
  apply,
  at,
  isQuantized,
  isTensor,
  leavesOf,
  mapTree,
  quantizedFormats,
  randomKey,
  roundsActivations,
  square,
  storedFormat,
  sum,
  transpose,
  valueAndGrad,
} from "@moiety/core";
import { decoder } from "../decoder/decoder.ts";
import { generate } from "../generate.ts";
import { initModel } from "../init-model.ts";
import { type ReadyModel, loadModel } from "../load.ts";
import { composedLogits } from "../testing/composed.ts";
import { contentOf, dequantized, likeliest, wholeBlockConfigs } from "../testing/quantized.ts";
import { saveToMemory, tinyConfigs, tinyFamilies, tokens } from "../testing/tiny.ts";
import { quantizationError } from "./error.ts";
import { type ExpertFormat, expertFormats, quantizedDecoder } from "./quantization.ts";
import { quantize } from "./quantize.ts";

const FORMATS = Object.keys(expertFormats) as ExpertFormat[];
const ROUNDING = FORMATS.filter((format) => roundsActivations(expertFormats[format]));
const FAMILIES = Object.keys(wholeBlockConfigs);
const PROMPT = [3, 1, 4, 1];

let backend: Backend;

beforeAll(async () => {
  backend = await create();
});

afterAll(() => backend.dispose());

const newModel = (family: string, dtype: "f32" | "f64" = "f32"): ReadyModel =>
  initModel(wholeBlockConfigs[family] ?? {}, randomKey(5), { backend, dtype });

async function logitsOf({ model, params, state }: ReadyModel): Promise<number[]> {
  return [...(await apply(model, params, state, tokens(backend, 2, 5)).logits.read())];
}

async function continued({ model, params, state }: ReadyModel, count: number): Promise<number[]> {
  const found: number[] = [];
  const options = { maxNewTokens: count };
  for await (const token of generate(model, params, state, PROMPT, options)) found.push(token);
  return found;
}

/** Paths of the leaves in codes. */
const inCodes = ({ params }: ReadyModel): string[] =>
  leavesOf(params).flatMap(({ path, leaf }) => (isQuantized(leaf) ? [path] : []));

/** Paths of the leaves that have two axes, or three in a bank, but for routers and gates. */
const matrices = ({ params }: ReadyModel): string[] =>
  leavesOf(params).flatMap(({ path, leaf }) =>
    isTensor(leaf) && leaf.rank >= 2 && !/router|shared\.gate$|Bias$/.test(path) ? [path] : [],
  );

/** The same numbers where products read activations as they are. */
function unrounded(small: ReadyModel, format: ExpertFormat): ReadyModel {
  const stored = format.replace(/_a8$/, "") as ExpertFormat;
  return { ...small, model: decoder(quantizedDecoder(small.config.decoder, { rest: stored })) };
}

const largestGap = (a: readonly number[], b: readonly number[]): number =>
  Math.max(...a.map((value, index) => Math.abs(value - (b[index] ?? Number.NaN))));

describe.each(FAMILIES)("all matrices of %s in codes", (family) => {
  it.each(FORMATS)("compute what their numbers do: %s", async (rest) => {
    const ready = newModel(family);
    const small = await quantize(ready, { rest });
    expect(inCodes(small)).toEqual(matrices(ready));
    const found = await logitsOf(small);
    const wide = await logitsOf(dequantized(small, rest));
    if (!roundsActivations(expertFormats[rest])) {
      expect(found).toEqual(wide);
    } else {
      expect(await logitsOf(unrounded(small, rest))).toEqual(wide);
      const size = Math.max(...wide.map(Math.abs));
      const gap = largestGap(found, wide);
      // Half a step of 127 is 2^-8 of the largest of a block; of sums of many it is less.
      expect(gap).toBeGreaterThan(size * 2 ** -20);
      expect(gap).toBeLessThan(size * 2 ** -4);
    }
  });

  it.each(FORMATS)("go on with a cache as without one: %s", async (rest) => {
    const small = await quantize(newModel(family), { rest });
    expect(await continued(small, 5)).toEqual(await likeliest(small, PROMPT, 5));
  });

  it.each(FORMATS)("come back from disk, and are made as they are loaded: %s", async (rest) => {
    const ready = newModel(family);
    const experts = rest === "q8_row" ? "q4_32" : undefined;
    const small = await quantize(ready, { experts, rest });
    const { content, source, warnings } = await saveToMemory(small);
    expect(warnings).toEqual([expect.stringContaining(` in ${rest}, which`)]);
    expect(content.config.value["quantization_config"]).toEqual({
      quant_method: "moiety",
      experts: experts ?? null,
      rest,
    });
    const again = await loadModel(source, { backend });
    expect(await contentOf(again)).toEqual(await contentOf(small));
    expect(again.model.config).toEqual(small.model.config);
    expect(await logitsOf(again)).toEqual(await logitsOf(small));
    const whole = (await saveToMemory(ready)).source;
    const loaded = await loadModel(whole, { backend, quantize: { experts, rest } });
    expect(await contentOf(loaded)).toEqual(await contentOf(small));
    expect(loaded.config.document.value).toEqual(small.config.document.value);
    const names = (await saveToMemory(loaded)).source.tensors;
    expect([...names.values()]).toEqual([...source.tensors.values()]);
  });

  it("are drawn as those of a new model are quantised", async () => {
    const ready = newModel(family);
    const small = await quantize(ready, { rest: "q4_32_a8" });
    const drawn = initModel(small.config.document, randomKey(5), { backend });
    const [found, wanted] = [await contentOf(drawn), await contentOf(small)];
    // Banks that lay [in, out] are drawn the other way round.
    const isDrawn = (path: string): boolean => family !== "gpt_oss" || !path.includes("experts");
    const alike = Object.keys(wanted).filter(isDrawn);
    expect(alike).toContain("params.embedding.codes");
    for (const path of alike) expect(found[path], path).toEqual(wanted[path]);
  });
});

it.each(tinyFamilies)("all matrices of %s come back from disk in rows", async (family) => {
  const ready = initModel(tinyConfigs[family] ?? {}, randomKey(5), { backend });
  const small = await quantize(ready, { rest: "q8_row" });
  expect(inCodes(small)).toEqual(matrices(ready));
  expect(await logitsOf(small)).toEqual(await logitsOf(dequantized(small, "q8_row")));
  const { source } = await saveToMemory(small);
  const again = await loadModel(source, { backend });
  expect(await contentOf(again)).toEqual(await contentOf(small));
  expect(again.model.config).toEqual(small.model.config);
  expect(await continued(again, 3)).toEqual(await likeliest(small, PROMPT, 3));
});

describe("products that round activations", () => {
  it.each(FORMATS)("are those of rounded rows and numbers: %s", async (rest) => {
    const ready = newModel("qwen2_moe", "f64");
    const small = await quantize(ready, { rest });
    const ids = tokens(backend, 1, 6);
    const found = [...(await apply(small.model, small.params, small.state, ids).logits.read())];
    const wide = dequantized(small, rest, "f64");
    const composed = composedLogits(wide, ids, ROUNDING.includes(rest));
    expect(largestGap(found, [...(await composed.read())])).toBeLessThan(1e-11);
    const other = composedLogits(wide, ids, !ROUNDING.includes(rest));
    expect(largestGap(found, [...(await other.read())])).toBeGreaterThan(1e-4);
  });
});

it("looks rows of an embedding up that is the output projection, too", async () => {
  const ready = newModel("olmoe");
  for (const rest of ["q8_row", "q4_32", "mxfp4"] as const) {
    const small = await quantize(ready, { rest });
    expect(small.params.head).toBeUndefined();
    expect(inCodes(small)).toContain("embedding");
    const { source } = await saveToMemory(small);
    const { block } = quantizedFormats[storedFormat(expertFormats[rest])];
    expect(source.tensors.get("model.embed_tokens.weight_scale")?.shape).toEqual(
      block === undefined ? [13] : [13, 1],
    );
    expect(source.tensors.has("lm_head.weight")).toBe(false);
  }
});

it("takes other formats for the rest than for the experts, in either order", async () => {
  const ready = newModel("deepseek_v3");
  const once = await quantize(ready, { experts: "q4_32", rest: "q8_32_a8" });
  const first = await quantize(ready, { experts: "q4_32" });
  const twice = await quantize(first, { rest: "q8_32_a8" });
  expect(twice.config.document.value).toEqual(once.config.document.value);
  expect(twice.model.config).toEqual(once.model.config);
  expect(await contentOf(twice)).toEqual(await contentOf(once));
  const halves = await quantize(ready, { rest: "f16" });
  const both = await quantize(halves, { experts: "q4_32", rest: "q8_32_a8" });
  expect(both.config.document.value).toEqual(once.config.document.value);
  expect(inCodes(both)).toEqual(inCodes(once));
});

it("turns dense networks and shared experts that lie [in, out]", async () => {
  const ready = newModel("qwen2_moe");
  const { config: sizes } = ready.model;
  const turned = {
    ...sizes,
    layers: sizes.layers.map((layer) =>
      "moe" in layer
        ? {
            ...layer,
            moe: {
              ...layer.moe,
              ...(layer.moe.shared && { shared: { ...layer.moe.shared, transposed: true } }),
            },
          }
        : { ...layer, dense: { ...layer.dense, transposed: true } },
    ),
  };
  const model = decoder(turned);
  const params = mapTree(ready.params, (leaf, path) =>
    /dense|shared\.ffn/.test(path) ? transpose(leaf as Tensor, { permutation: [1, 0] }) : leaf,
  ) as ReadyModel["params"];
  const given = { ...ready, model, params, config: { ...ready.config, decoder: turned } };
  expect(await logitsOf(given)).toEqual(await logitsOf(ready));
  const [found, wanted] = [
    await quantize(given, { rest: "q4_32" }),
    await quantize(ready, { rest: "q4_32" }),
  ];
  expect(await contentOf(found)).toEqual(await contentOf(wanted));
  expect(await logitsOf(found)).toEqual(await logitsOf(wanted));
});

it("never stands in floats while it is loaded in codes", async () => {
  const { source } = await saveToMemory(newModel("qwen2_moe"));
  const own = await create();
  const { params } = await loadModel(source, { backend: own, quantize: { rest: "q4_32" } });
  const { peakBytes, liveBytes } = own.statistics();
  expect(peakBytes).toBe(liveBytes);
  const numbers = leavesOf(params).reduce((total, { leaf }) => {
    const values = isTensor(leaf) ? leaf.size : leaf.codes.size + leaf.scales.size;
    return total + values;
  }, 0);
  expect(liveBytes).toBeLessThan(4 * numbers);
  await own.dispose();
});

it("gives each leaf back as soon as its codes stand, where it may", async () => {
  const own = await create();
  const ready = initModel(wholeBlockConfigs["deepseek_v3"] ?? {}, randomKey(5), { backend: own });
  const held = own.statistics().liveBytes;
  const small = await quantize(ready, { rest: "q8_32", donate: true });
  expect(own.statistics().liveBytes).toBeLessThan(held / 2);
  const ids = own.tensor(Int32Array.of(1, 2, 3), { shape: [1, 3] });
  const { logits } = apply(small.model, small.params, small.state, ids);
  expect((await logits.read()).every(Number.isFinite)).toBe(true);
  await own.dispose();
});

describe("on wasm, which reads codes where they lie", () => {
  let wasm: Backend;

  beforeAll(async () => {
    wasm = await createWasm({ threads: 1 });
  });

  afterAll(() => wasm.dispose());

  it.each(FAMILIES)("%s has the logits of the reference in every format", async (family) => {
    for (const rest of FORMATS) {
      const logits: number[][] = [];
      for (const on of [backend, wasm]) {
        const given = initModel(wholeBlockConfigs[family] ?? {}, randomKey(5), { backend: on });
        const { model, params, state } = await quantize(given, { rest, donate: true });
        const ids = tokens(on, 2, 5);
        const output = apply(model, params, state, ids);
        logits.push([...(await output.logits.read())]);
        if (on !== wasm) continue;
        wasm.resetRecord();
        apply(model, params, state, ids);
        const { linear, dequantize, moeFfn } = wasm.record();
        const held = leavesOf(params).filter(({ leaf }) => isQuantized(leaf));
        const others = held.filter(({ path }) => !/\.experts\.|^embedding$/.test(path));
        const tied = params.head === undefined ? 1 : 0;
        expect(linear).toEqual({ kernel: others.length + tied, decomposed: 0 });
        expect(moeFfn?.decomposed).toBe(0);
        expect(dequantize).toEqual({ kernel: 1, decomposed: 0 });
      }
      const [wanted = [], found = []] = logits;
      const size = Math.max(...wanted.map(Math.abs));
      // Where sums round otherwise, a rounded activation may be its neighbour.
      const budget = ROUNDING.includes(rest) ? size * 2 ** -6 : size * 2 ** -16;
      expect(largestGap(wanted, found), rest).toBeLessThanOrEqual(budget);
    }
  });
});

it("tells its error from floats, less for more bits", async () => {
  const ready = newModel("gpt_oss");
  const ids = tokens(backend, 1, 8);
  const errors: number[] = [];
  for (const rest of ["q8_32", "q4_32"] as const) {
    errors.push((await quantizationError(ready, await quantize(ready, { rest }), ids)).klMean);
  }
  expect(errors[0]).toBeGreaterThan(0);
  expect(errors[1]).toBeGreaterThan(4 * (errors[0] ?? 0));
});

it("does not train, while what is beside it does", async () => {
  const { model, params, state } = await quantize(newModel("qwen2_moe"), { rest: "q4_32_a8" });
  const ids = tokens(backend, 1, 4);
  const step = valueAndGrad((given: typeof params) => {
    return sum(square(apply(model, given, state, ids).logits));
  });
  const { grads } = step(params);
  for (const { path } of leavesOf(params)) {
    const grad = at(grads, path);
    const isCodes = isQuantized(at(params, path));
    expect(grad === null, path).toBe(isCodes);
  }
});
