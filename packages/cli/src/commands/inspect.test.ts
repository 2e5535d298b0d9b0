import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError, FormatError } from "@moiety/core";
import { afterEach, describe, expect, it } from "vitest";
import { testdata } from "../goldens/testing/cases.ts";
import type { Inspection } from "../inspect/inspection.ts";
import { writeSparseModel } from "../inspect/testing/sparse-model.ts";
import { runProgram, withFolder } from "../testing/run-program.ts";

const olmoe = join(testdata, "model-olmoe/0");

async function inspect(folder: string): Promise<Inspection> {
  const { text, code } = await runProgram("inspect", folder, "--json");
  expect(code).toBe(0);
  return JSON.parse(text) as Inspection;
}

/** OLMoE-1B-7B, as it is published. */
const published = { model_type: "olmoe", intermediate_size: 1024 };

describe("a model that is built", () => {
  it("is counted as OLMoE-1B-7B was published", async () => {
    await withFolder(async (folder) => {
      await writeSparseModel(folder, published, 5e9);
      const found = await inspect(folder);
      // 16 layers of 64 experts of 3 · 2048 · 1024, of which 8 are chosen.
      const experts = 16 * 64 * 3 * 2048 * 1024;
      const total = 6_919_161_856;
      expect(found).toMatchObject({
        family: "olmoe",
        architecture: "OlmoeForCausalLM",
        built: "model",
        unsupported: [],
        layerCount: 16,
        hiddenSize: 2048,
        vocabSize: 50304,
        experts: { experts: 64, networks: 64, chosen: 8, intermediateSize: 1024 },
        parameters: { total, active: total - (experts * 7) / 8 },
        stored: [{ dtype: "BF16", tensors: 3219, bytes: 2 * total }],
        cacheBytesPerToken: 16 * 2 * 2048 * 4,
        flopsPerCachedToken: 16 * 2 * 2 * 2048,
      });
      // Every product with a matrix: attention, router, chosen experts, output projection.
      const perLayer = 4 * 2048 * 2048 + 64 * 2048 + 8 * 3 * 2048 * 1024;
      expect(found.flopsPerToken).toBe(2 * (16 * perLayer + 50304 * 2048));
      const need = (format: string, rest: string) =>
        found.memory.find((one) => one.experts === format && one.rest === rest);
      expect(need("f32", "f32")?.bytes).toBe(4 * total);
      expect(need("f32", "f16")).toBeUndefined();
      const others = total - experts;
      expect(need("q8_row", "f32")?.bytes).toBe(
        4 * others + experts + 4 * 16 * 64 * (2 * 1024 + 2048),
      );
      expect(need("q8_32", "f32")?.bytes).toBe(4 * others + (experts * 36) / 32);
      expect(need("q4_32", "f32")?.bytes).toBe(4 * others + (experts * 20) / 32);
      expect(need("mxfp4", "f32")?.bytes).toBe(4 * others + (experts * 17) / 32);
      const embedding = 50304 * 2048;
      const matrices = 2 * embedding + 16 * 4 * 2048 * 2048;
      const kept = 4 * (others - matrices);
      expect(need("q8_32", "q8_32")?.bytes).toBe(kept + ((experts + matrices) * 36) / 32);
      expect(need("q4_32", "q8_32")?.bytes).toBe(kept + (experts * 20 + matrices * 36) / 32);
      expect(need("mxfp4", "mxfp4")?.bytes).toBe(kept + ((experts + matrices) * 17) / 32);
      expect(need("q8_row", "q8_row")?.bytes).toBe(
        kept +
          experts +
          4 * 16 * 64 * (2 * 1024 + 2048) +
          matrices +
          4 * (2 * 50304 + 16 * 4 * 2048),
      );
      // Of the embedding a token reads a row.
      expect(need("q4_32", "q4_32")?.bytesPerToken).toBe(
        kept + ((matrices - embedding + 2048 + experts / 8) * 20) / 32,
      );
      expect(need("f32", "f32")?.bytesPerToken).toBe(4 * (others - embedding + 2048 + experts / 8));
    });
  });

  it("is told to people in some lines", async () => {
    const { text } = await runProgram("inspect", olmoe);
    expect(text).toMatch(/^family +olmoe \(OlmoeForCausalLM\)$/m);
    expect(text).toMatch(/^layers +2: 2 with experts$/m);
    expect(text).toMatch(/^experts +8 in a layer, 3 chosen per token, width 16, none shared$/m);
    expect(text).toMatch(/^attention +grouped: 4 heads, 2 for keys and values, width 8$/m);
    expect(text).toMatch(/^stored +F32 \d/m);
    expect(text).toMatch(/^q8_row, f16 +\d.* kB +\d.* kB$/m);
    expect(text).toMatch(/^q4_32, f32 +rows are no whole blocks$/m);
    expect(text).toMatch(/^supported +all of it$/m);
  });

  it("is found by a file in its folder", async () => {
    const [whole, file] = [await inspect(olmoe), await inspect(join(olmoe, "model.safetensors"))];
    expect(file.parameters).toEqual(whole.parameters);
  });
});

describe("what does not fit", () => {
  it("is told of tensors that are missing or unexpected", async () => {
    await withFolder(async (folder) => {
      await writeSparseModel(folder, { ...published, num_hidden_layers: 1 }, 5e9);
      const path = join(folder, "config.json");
      const config = (await readFile(path, "utf8")).replace(
        '"num_hidden_layers": 1',
        '"num_hidden_layers": 2',
      );
      await writeFile(path, config);
      const { built, unsupported, parameters } = await inspect(folder);
      expect(built).toBe("model");
      expect(unsupported).toHaveLength(1);
      expect(unsupported[0]).toMatch(/missing: model\.layers\.1\..* and \d+ more/);
      expect(parameters.total).toBeGreaterThan(0);
    });
  });

  it.each([
    ["a value that is not built", { use_sliding_window: true }, "block", /use_sliding_window/],
    ["a family that nobody knows", { model_type: "never_heard_of" }, "none", /never_heard_of/],
  ])("%s is named, and the rest counted by the headers", async (_, change, built, message) => {
    await withFolder(async (folder) => {
      const values = {
        model_type: "qwen3_moe",
        num_hidden_layers: 2,
        num_experts: 8,
        num_experts_per_tok: 2,
        vocab_size: 1000,
        tie_word_embeddings: false,
      };
      await writeSparseModel(folder, values, 5e9);
      const right = await inspect(folder);
      const path = join(folder, "config.json");
      const config = JSON.parse(await readFile(path, "utf8")) as object;
      await writeFile(path, JSON.stringify({ ...config, ...change }));
      const found = await inspect(folder);
      expect(found.unsupported).toHaveLength(1);
      expect(found.unsupported[0]).toMatch(message);
      expect(found.built).toBe(built);
      expect(found.parameters).toEqual(right.parameters);
      expect(found.stored).toEqual(right.stored);
      expect(found.memory.map(({ bytes }) => bytes)).toEqual(right.memory.map((one) => one.bytes));
      expect(found.flopsPerToken).toBe(right.flopsPerToken);
      expect(found).toMatchObject({ layerCount: 2, hiddenSize: 2048, vocabSize: 1000 });
      const { text } = await runProgram("inspect", folder);
      expect(text).toMatch(/^unsupported: /m);
    });
  });

  it("a folder that is none, or holds none, is an error", async () => {
    await expect(runProgram("inspect", "no/such/folder")).rejects.toThrow(ConfigError);
    await withFolder(async (folder) => {
      await expect(runProgram("inspect", folder)).rejects.toThrow(/config\.json/);
      await writeFile(join(folder, "config.json"), "{");
      await expect(runProgram("inspect", folder)).rejects.toThrow(FormatError);
      await writeFile(join(folder, "config.json"), "{}");
      await expect(runProgram("inspect", folder)).rejects.toThrow(/holds no weights/);
    });
  });
});

it("tells of 100 GB in 31 thousand tensors by their headers alone", async () => {
  await withFolder(async (folder) => {
    const values = {
      model_type: "qwen3_moe",
      num_hidden_layers: 66,
      num_experts: 160,
      hidden_size: 2048,
      moe_intermediate_size: 768,
    };
    const { tensors, bytes } = await writeSparseModel(folder, values, 5e9);
    expect(bytes).toBeGreaterThan(100e9);
    expect(tensors).toBeGreaterThan(31_000);
    const started = performance.now();
    const found = await inspect(folder);
    const seconds = (performance.now() - started) / 1000;
    expect(found.stored).toMatchObject([{ dtype: "BF16", tensors }]);
    expect(found.unsupported).toEqual([]);
    // A second on an idle machine; tests share theirs.
    expect(seconds).toBeLessThan(20);
  });
});

describe("over http", () => {
  const servers: Server[] = [];
  afterEach(() => {
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
      server.close();
    }
  });

  it("reads what a server has", async () => {
    const server = createServer((request, response) => {
      const name = request.url?.split("/").at(-1) ?? "";
      void readFile(join(olmoe, name)).then(
        (bytes) => {
          const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
          const to = Math.min(Number(last), bytes.length - 1);
          const range = `bytes ${first}-${to}/${bytes.length}`;
          response.writeHead(206, { "Content-Range": range });
          response.end(bytes.subarray(Number(first), to + 1));
        },
        () => response.writeHead(404).end(),
      );
    }).listen(0, "127.0.0.1");
    servers.push(server);
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as AddressInfo;
    const found = await inspect(`http://127.0.0.1:${port}/olmoe/`);
    expect(found.parameters).toEqual((await inspect(olmoe)).parameters);
  });
});
