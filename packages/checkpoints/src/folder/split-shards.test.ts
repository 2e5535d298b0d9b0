import { ConfigError } from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { TensorShape } from "../safetensors/layout.ts";
import { indexText, isWeights, splitShards } from "./split-shards.ts";

const tensor = (name: string, size: number): TensorShape => ({ name, dtype: "U8", shape: [size] });
const namesOf = (sizes: number[], most: number): string[][] =>
  splitShards(
    sizes.map((size, index) => tensor(String(index), size)),
    most,
  ).map(({ entries }) => entries.map(({ name }) => name));

describe("splitShards", () => {
  it.each<[number[], number, string[][]]>([
    [[3, 4, 2], 10, [["0", "1", "2"]]],
    [[3, 4, 2], 7, [["0", "1"], ["2"]]],
    [[3, 4, 2], 3, [["1"], ["0"], ["2"]]],
    [[5, 20, 5], 10, [["1"], ["0", "2"]]],
    [[], 1, [[]]],
  ])("spreads %j over files of %i bytes as huggingface_hub does", (sizes, most, expected) => {
    expect(namesOf(sizes, most)).toEqual(expected);
  });

  it("names files by their number, and a single one without", () => {
    expect(splitShards([tensor("a", 1)], 1).map(({ file }) => file)).toEqual(["model.safetensors"]);
    expect(splitShards([tensor("a", 1), tensor("b", 1)], 1).map(({ file }) => file)).toEqual([
      "model-00001-of-00002.safetensors",
      "model-00002-of-00002.safetensors",
    ]);
  });

  it("loses nothing, and passes the limit only with a tensor alone", () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(30), { maxLength: 20 }),
        fc.integer({ min: 1, max: 40 }),
        (sizes, most) => {
          const lists = namesOf(sizes, most);
          expect(lists.flat().sort()).toEqual(sizes.map((_, index) => String(index)).sort());
          for (const list of lists) {
            const bytes = list.reduce((sum, name) => sum + (sizes[Number(name)] ?? 0), 0);
            expect(bytes <= most || list.length === 1).toBe(true);
          }
        },
      ),
      { seed: 14 },
    );
  });

  it.each([0, -1, Number.NaN])("refuses a limit of %s", (most) => {
    expect(() => splitShards([], most)).toThrow(ConfigError);
  });
});

it("writes the index with sorted keys", () => {
  const shards = splitShards([tensor("b", 2), tensor("a", 2)], 2);
  expect(indexText(shards, 4)).toBe(
    `{
  "metadata": {
    "total_parameters": 4,
    "total_size": 4
  },
  "weight_map": {
    "a": "model-00002-of-00002.safetensors",
    "b": "model-00001-of-00002.safetensors"
  }
}
`,
  );
  expect(indexText(shards, undefined)).not.toContain("total_parameters");
});

it.each([
  ["model.safetensors", true],
  ["model-00001-of-00003.safetensors", true],
  ["model-00001-of-00003.old-0a-1b.safetensors", true],
  ["model.safetensors.index.json", true],
  ["adapter_model.safetensors", false],
  ["model-v2.safetensors", false],
  ["config.json", false],
])("knows what saves of weights make: %s", (file, expected) => {
  expect(isWeights(file)).toBe(expected);
});
