import { join } from "node:path";
import { openCheckpoint } from "@moiety/checkpoints/node";
import { describe, expect, it } from "vitest";
import { differences } from "./saved-again.ts";
import { renameTensor, rewrite, testdata, withCopies } from "./testing/cases.ts";

const MODEL = "model-qwen2_moe/0";

/** What differs between a recorded model folder and a copy that was changed. */
async function differencesAfter(change: (folder: string) => Promise<unknown>): Promise<string[]> {
  return withCopies([MODEL], async (copies) => {
    const folder = join(copies, MODEL);
    await change(folder);
    const [original, again] = [
      await openCheckpoint(join(testdata, MODEL)),
      await openCheckpoint(folder),
    ];
    const found = await differences(original, again);
    await Promise.all([original.close(), again.close()]);
    return found;
  });
}

describe("differences between model folders", () => {
  it("finds none between equal ones", async () => {
    expect(await differencesAfter(async () => {})).toEqual([]);
  });

  it("finds changed keys, float forms, bytes and names", async () => {
    const config = (folder: string) => join(folder, "config.json");
    const weights = (folder: string) => join(folder, "model.safetensors");
    const replaced = (from: string, to: string) => (bytes: Buffer) =>
      bytes.toString("latin1").replace(from, to);
    expect(
      await differencesAfter((at) =>
        rewrite(config(at), replaced('"num_experts": 8', '"num_experts": 9')),
      ),
    ).toEqual(["config.json: num_experts is 9, not 8"]);
    expect(
      await differencesAfter((at) => rewrite(config(at), replaced("10000.0", "10000"))),
    ).toEqual(["config.json: other numbers are floats"]);
    const flipped = await differencesAfter((at) =>
      rewrite(weights(at), (bytes) => {
        bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
        return bytes;
      }),
    );
    expect(flipped).toHaveLength(1);
    expect(flipped[0]).toMatch(/^the bytes of .* differ$/);
    expect(
      await differencesAfter((at) => renameTensor(weights(at), "lm_head.weight", "head.weight")),
    ).toEqual(["the tensor head.weight is new", "the tensor lm_head.weight is missing"]);
  });
});
