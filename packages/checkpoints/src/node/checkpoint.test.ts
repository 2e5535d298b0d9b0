import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError, FormatError, UseAfterDisposeError } from "@moiety/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { jsonDocument } from "../json/document.ts";
import { type TensorEntry, copyEntries } from "../safetensors/write.ts";
import { openCheckpoint } from "./open-checkpoint.ts";
import { saveCheckpoint } from "./save-checkpoint.ts";
import { setAside } from "./set-aside.ts";
import { writeSafetensors } from "./write-safetensors.ts";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "moiety-"));
});
afterEach(() => rm(folder, { recursive: true }));

const entry = (name: string, ...values: number[]): TensorEntry => ({
  name,
  dtype: "U8",
  shape: [values.length, 1],
  bytes: () => Uint8Array.from(values),
});

const config = jsonDocument({ model_type: "olmoe", rope_theta: 10000, rms_norm_eps: 1e-5 }, [
  "rope_theta",
]);
const generationConfig = jsonDocument({ _from_model_config: true });

/** Makes a sharded folder. */
async function shard(
  files: Record<string, TensorEntry[]>,
  weightMap: Record<string, unknown>,
): Promise<void> {
  await writeFile(join(folder, "config.json"), "{}");
  const index = JSON.stringify({ metadata: { total_size: 1 }, weight_map: weightMap });
  await writeFile(join(folder, "model.safetensors.index.json"), index);
  for (const [file, entries] of Object.entries(files)) {
    await writeSafetensors(join(folder, file), entries, { format: file });
  }
}

describe("saveCheckpoint and openCheckpoint", () => {
  it("write a folder and read it, and write it again to the same bytes", async () => {
    const first = join(folder, "made", "a");
    const tensors = [entry("b", 1, 2), entry("a", 3)];
    await saveCheckpoint(first, { config, generationConfig, tensors });
    expect(await readdir(first)).toEqual([
      "config.json",
      "generation_config.json",
      "model.safetensors",
    ]);
    expect(await readFile(join(first, "config.json"), "utf8")).toBe(
      '{\n  "model_type": "olmoe",\n  "rms_norm_eps": 1e-05,\n  "rope_theta": 10000.0\n}\n',
    );
    const checkpoint = await openCheckpoint(first);
    expect(checkpoint.folder).toBe(first);
    expect(checkpoint.config.value).toEqual(config.value);
    expect(checkpoint.generationConfig?.value).toEqual(generationConfig.value);
    expect(checkpoint.metadata).toEqual({ format: "pt" });
    expect([...checkpoint.tensors.keys()]).toEqual(["a", "b"]);
    expect([...(await checkpoint.read("b")).bytes]).toEqual([1, 2]);
    expect([...(await checkpoint.readRows("b", 1, 2)).bytes]).toEqual([2]);
    const second = join(folder, "b");
    await saveCheckpoint(second, { ...checkpoint, tensors: copyEntries(checkpoint) });
    for (const file of await readdir(first)) {
      expect(await readFile(join(second, file))).toEqual(await readFile(join(first, file)));
    }
    await checkpoint.close();
    await checkpoint.close();
    await expect(checkpoint.read("b")).rejects.toThrow(UseAfterDisposeError);
  });

  it("write over the folder that is being read", async () => {
    await saveCheckpoint(folder, { config, tensors: [entry("a", 1), entry("b", 2)] });
    const checkpoint = await openCheckpoint(folder);
    await saveCheckpoint(folder, { ...checkpoint, tensors: copyEntries(checkpoint) });
    expect([...(await checkpoint.read("b")).bytes]).toEqual([2]);
    await checkpoint.close();
    expect(await readdir(folder)).toEqual(["config.json", "model.safetensors"]);
  });
});

describe("saveCheckpoint in shards", () => {
  const tensors = [entry("b", 1, 2), entry("a", 3), entry("c", 4, 5, 6)];
  const shard = (number: number, count: number): string =>
    `model-0000${number}-of-0000${count}.safetensors`;
  const save = (values: readonly TensorEntry[], maxShardBytes?: number): Promise<void> =>
    saveCheckpoint(folder, { config, tensors: values, maxShardBytes, totalParameters: 6 });
  const valuesOf = async (): Promise<Record<string, number[]>> => {
    const checkpoint = await openCheckpoint(folder);
    const values: Record<string, number[]> = {};
    for (const name of checkpoint.tensors.keys()) {
      values[name] = [...(await checkpoint.read(name)).bytes];
    }
    await checkpoint.close();
    return values;
  };

  it("writes files, an index, and what is read again the same", async () => {
    await save(tensors, 3);
    expect((await readdir(folder)).sort()).toEqual([
      "config.json",
      shard(1, 2),
      shard(2, 2),
      "model.safetensors.index.json",
    ]);
    expect(await valuesOf()).toEqual({ b: [1, 2], a: [3], c: [4, 5, 6] });
    const text = await readFile(join(folder, "model.safetensors.index.json"), "utf8");
    expect(JSON.parse(text)).toEqual({
      metadata: { total_parameters: 6, total_size: 6 },
      weight_map: { a: shard(1, 2), b: shard(1, 2), c: shard(2, 2) },
    });
    const checkpoint = await openCheckpoint(folder);
    expect(checkpoint.metadata).toEqual({ format: "pt" });
    const other = join(folder, "other");
    const copies = { ...checkpoint, tensors: copyEntries(checkpoint), maxShardBytes: 3 };
    await saveCheckpoint(other, { ...copies, totalParameters: 6 });
    for (const file of await readdir(other)) {
      expect(await readFile(join(other, file))).toEqual(await readFile(join(folder, file)));
    }
    await checkpoint.close();
  });

  it("removes the weights of before, whatever they were, and nothing else", async () => {
    await writeFile(join(folder, "tokenizer.json"), "{}");
    for (const limit of [undefined, 2, 3, 3, 2, undefined, 3]) {
      await save(tensors, limit);
      expect(await valuesOf()).toEqual({ b: [1, 2], a: [3], c: [4, 5, 6] });
      const count = limit === undefined ? 1 : limit === 2 ? 3 : 2;
      const weights = (await readdir(folder)).filter((file) => file.endsWith(".safetensors"));
      expect(weights).toHaveLength(count);
      const index = (await readdir(folder)).includes("model.safetensors.index.json");
      expect(index).toBe(count > 1);
    }
    expect(await readFile(join(folder, "tokenizer.json"), "utf8")).toBe("{}");
  });

  it("gives shards a second name while theirs are taken", async () => {
    await save(tensors, 3);
    await setAside(folder, [shard(1, 2), "another"]);
    const aside = (await readdir(folder)).filter((file) => file.includes(".old-"));
    expect(aside).toHaveLength(1);
    await writeSafetensors(join(folder, shard(1, 2)), [entry("b", 9, 9), entry("a", 9)]);
    expect(await valuesOf()).toEqual({ b: [1, 2], a: [3], c: [4, 5, 6] });
    await save(tensors, 3);
    expect((await readdir(folder)).some((file) => file.includes(".old-"))).toBe(false);
  });

  it("leaves the old shards as they were when new ones fail", async () => {
    await save(tensors, 3);
    const before = (await readdir(folder)).sort();
    const bad: TensorEntry = { ...entry("d", 1), bytes: () => new Uint8Array(9) };
    await expect(save([...tensors, bad], 2)).rejects.toThrow("9 were given");
    expect((await readdir(folder)).sort()).toEqual(before);
    expect(await valuesOf()).toEqual({ b: [1, 2], a: [3], c: [4, 5, 6] });
  });

  it("writes over an index that cannot be read", async () => {
    await writeFile(join(folder, "model.safetensors.index.json"), "{");
    await save(tensors, 3);
    expect(await valuesOf()).toEqual({ b: [1, 2], a: [3], c: [4, 5, 6] });
    await expect(save(tensors, 0)).rejects.toThrow("maxShardBytes is 0");
  });
});

describe("saveCheckpoint", () => {
  it("leaves the old folder as it was when the weights fail", async () => {
    await saveCheckpoint(folder, { config, tensors: [entry("a", 1)] });
    const old = await readFile(join(folder, "model.safetensors"));
    const bad: TensorEntry = { ...entry("b", 1), bytes: () => new Uint8Array(9) };
    const other = jsonDocument({ other: true });
    const failing = saveCheckpoint(folder, {
      config: other,
      generationConfig: other,
      tensors: [entry("a", 2), bad],
    });
    await expect(failing).rejects.toThrow("9 were given");
    expect(await readdir(folder)).toEqual(["config.json", "model.safetensors"]);
    expect(await readFile(join(folder, "config.json"), "utf8")).toContain("olmoe");
    expect(await readFile(join(folder, "model.safetensors"))).toEqual(old);
  });

  it("names a folder that cannot be made or written", async () => {
    await writeFile(join(folder, "file"), "");
    const onto = saveCheckpoint(join(folder, "file"), { config, tensors: [] });
    await expect(onto).rejects.toThrow(ConfigError);
    await expect(onto).rejects.toThrow(`cannot make the folder ${folder}/file: a file stands`);
    const below = saveCheckpoint(join(folder, "file", "x"), { config, tensors: [] });
    await expect(below).rejects.toThrow("a part of the path is not a folder");
  });

  it.runIf(process.platform === "linux")("does not hang where no folder can be made", async () => {
    const saving = saveCheckpoint("/proc/none/model", { config, tensors: [] });
    await expect(saving).rejects.toThrow("cannot make the folder /proc/none/model");
  });

  it("changes nothing where a folder stands in a file's place", async () => {
    await mkdir(join(folder, "model.safetensors"));
    const saving = saveCheckpoint(folder, { config, tensors: [] });
    await expect(saving).rejects.toThrow("it is a folder; remove it");
    expect(await readdir(folder)).toEqual(["model.safetensors"]);
  });
});

describe("openCheckpoint", () => {
  it("joins shards", async () => {
    const files = { "s-1": [entry("a", 1), entry("b", 2)], "s-2": [entry("c", 3, 4)] };
    await shard(files, { c: "s-2", a: "s-1", b: "s-1" });
    const checkpoint = await openCheckpoint(folder);
    expect([...checkpoint.tensors.keys()]).toEqual(["a", "b", "c"]);
    expect(checkpoint.metadata).toEqual({ format: "s-1" });
    expect(checkpoint.generationConfig).toBeUndefined();
    expect([...(await checkpoint.read("a")).bytes]).toEqual([1]);
    expect([...(await checkpoint.readRows("c", 1, 2)).bytes]).toEqual([4]);
    const target = new Uint8Array(2);
    await checkpoint.readInto("c", 0, target);
    expect([...target]).toEqual([3, 4]);
    await expect(checkpoint.read("d")).rejects.toThrow(ConfigError);
    await checkpoint.close();
    await expect(checkpoint.read("c")).rejects.toThrow(UseAfterDisposeError);
  });

  it.each<[string, Record<string, TensorEntry[]>, Record<string, unknown>]>([
    [
      'tensor "a" stands both in s-1 and in s-2',
      { "s-1": [entry("a", 1)], "s-2": [entry("a", 1), entry("b", 2)] },
      { a: "s-1", b: "s-2" },
    ],
    ['lists tensor "b" in s-1, which lacks it', { "s-1": [entry("a", 1)] }, { a: "s-1", b: "s-1" }],
    [
      'lists tensor "b" in s-1, but s-2 holds it',
      { "s-1": [entry("a", 1)], "s-2": [entry("b", 1), entry("c", 1)] },
      { a: "s-1", b: "s-1", c: "s-2" },
    ],
    [
      'does not list tensor "b", which s-1 holds',
      { "s-1": [entry("a", 1), entry("b", 1)] },
      { a: "s-1" },
    ],
    ['gives "../s-1" for "a"', {}, { a: "../s-1" }],
    ['gives ".." for "a"', {}, { a: ".." }],
    ['gives "" for "a"', {}, { a: "" }],
    ['gives a number for "a"', {}, { a: 1 }],
  ])("refuses an index when %s", async (reason, files, weightMap) => {
    await shard(files, weightMap);
    const opening = openCheckpoint(folder);
    await expect(opening).rejects.toThrow(FormatError);
    await expect(opening).rejects.toThrow(reason);
    await expect(opening).rejects.toThrow("model.safetensors.index.json");
  });

  it.each([
    ["{}", "has no weight_map"],
    ["[]", "has no weight_map"],
    ['{"weight_map":[]}', "its weight_map is an array"],
    ['{"weight_map":{}', "not valid JSON at byte 16"],
    ['{"weight_map":{"a":"s","a":"s"}}', 'the key "a" stands twice'],
  ])("refuses the index %s", async (text, reason) => {
    await shard({}, {});
    await writeFile(join(folder, "model.safetensors.index.json"), text);
    await expect(openCheckpoint(folder)).rejects.toThrow(FormatError);
    await expect(openCheckpoint(folder)).rejects.toThrow(reason);
  });

  it("names what is missing", async () => {
    const path = join(folder, "none");
    await expect(openCheckpoint(path)).rejects.toThrow(ConfigError);
    await expect(openCheckpoint(path)).rejects.toThrow(`checkpoint ${path}: it does not exist`);
    await expect(openCheckpoint(folder)).rejects.toThrow(`cannot read ${folder}/config.json`);
    await writeFile(join(folder, "config.json"), "{}");
    await expect(openCheckpoint(folder)).rejects.toThrow(`${folder} holds no weights`);
    await expect(openCheckpoint(join(folder, "config.json"))).rejects.toThrow("is not a folder");
    await shard({ "s-1": [entry("a", 1)] }, { a: "s-1", b: "s-2" });
    await expect(openCheckpoint(folder)).rejects.toThrow(`cannot read ${folder}/s-2`);
    await expect(openCheckpoint(folder)).rejects.toThrow(ConfigError);
  });

  it("refuses damaged files by name", async () => {
    await writeFile(join(folder, "config.json"), '{"a":}');
    await expect(openCheckpoint(folder)).rejects.toThrow(`${folder}/config.json: not valid JSON`);
    await saveCheckpoint(folder, { config, generationConfig, tensors: [entry("a", 1)] });
    const weights = join(folder, "model.safetensors");
    await writeFile(weights, (await readFile(weights)).subarray(0, 60));
    await expect(openCheckpoint(folder)).rejects.toThrow(FormatError);
    await expect(openCheckpoint(folder)).rejects.toThrow(`${weights}: ends at byte 60`);
    await writeFile(join(folder, "generation_config.json"), "[]");
    await expect(openCheckpoint(folder)).rejects.toThrow("holds an array where an object belongs");
  });
});
