import create from "@moiety/backend-wasm";
import type { Backend } from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CONTINUED, compare } from "./compare.ts";
import { type Format, formats, storageOf } from "./formats.ts";
import { type HostModel, type RestFormat, hostModel } from "./olmoe.ts";
import { type Continuer, ourModel } from "./ours.ts";

const SIZES = {
  hidden_size: 64,
  intermediate_size: 32,
  num_attention_heads: 2,
  num_experts: 8,
  num_experts_per_tok: 2,
  num_hidden_layers: 2,
  num_key_value_heads: 2,
  vocab_size: 96,
};
const PROMPT = [13, 52, 91, 34, 73, 16, 55, 94];
const NEARLY = 1e-4;

let backend: Backend;
beforeAll(async () => {
  backend = await create({ threads: 1 });
});
afterAll(() => backend.dispose());

/** The same numbers as those of a model in codes, in float32. */
function inFloats(host: HostModel): Promise<Continuer> {
  return ourModel(backend, { ...host, experts: "f32", rest: "f32" }, "f32");
}

describe("ourModel", () => {
  const cases = formats
    .filter((format) => format !== "f32")
    .flatMap((format) => (["same", "f16"] as const).map((rest) => [format, rest] as const));

  it.each<readonly [Format, RestFormat]>(cases)(
    "in %s, rest %s, computes with the numbers that were drawn",
    async (format, rest) => {
      const host = hostModel(storageOf(format), rest, SIZES);
      const [ours, floats] = [await ourModel(backend, host, format), await inFloats(host)];
      const { error, kl, sameTokens } = await compare(ours, floats, PROMPT);
      if (format.endsWith("_a8")) {
        // Activations are rounded, so it is near, and not the same.
        expect(error).toBeGreaterThan(NEARLY);
        expect(kl).toBeLessThan(0.01);
      } else {
        expect(error).toBeLessThan(NEARLY);
        expect(sameTokens).toBe(CONTINUED);
      }
      await ours.dispose();
      await floats.dispose();
    },
  );

  it("takes as much memory as it stores", async () => {
    const before = backend.statistics().liveBytes;
    const host = hostModel("q4", "same", SIZES);
    const ours = await ourModel(backend, host, "q4_32_a8");
    const bytes = backend.statistics().liveBytes - before;
    const [hidden, inner, experts, vocab] = [64, 32, 8, 96];
    const inCodes = 2 * vocab * hidden + 2 * (4 * hidden * hidden + experts * 3 * hidden * inner);
    const inFloat = hidden + 2 * (4 * hidden + experts * hidden);
    expect(bytes).toBe(inCodes * (1 / 2 + 4 / 32) + inFloat * 4);
    await ours.dispose();
    expect(backend.statistics().liveBytes).toBe(before);
  });

  it("refuses a format that stores something else", async () => {
    await expect(ourModel(backend, hostModel("q8", "same", SIZES), "q4_32")).rejects.toThrow(
      "stored in q8 cannot be held in q4_32",
    );
  });
});
