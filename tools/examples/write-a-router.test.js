import { readFileSync } from "node:fs";
import cpu from "@moiety/backend-cpu";
import webgpu from "@moiety/backend-webgpu";
import { describe, expect, it } from "vitest";
import { run } from "../../examples/write-a-router/index.ts";
import { requireWebGpu } from "../../packages/backend-webgpu/src/testing/adapter.ts";

const page = read("docs/write-a-router.md");
const gpu = await requireWebGpu();

describe("docs/write-a-router.md", () => {
  it.each(["router.ts", "index.ts"])("prints %s as it is", (name) => {
    expect(page).toContain(`// ${name}\n${read(`examples/write-a-router/${name}`)}`);
  });

  it("has a router of ten lines", () => {
    const code = read("examples/write-a-router/router.ts").trim().split("\n");
    expect(code.filter((line) => !/^(\/\/|$)/.test(line))).toHaveLength(10);
  });

  it("gives one expert or two, and a gradient for every expert that was chosen", async () => {
    const { choices, load, gradient, loss } = await results(cpu);
    const ofTokens = Array.from({ length: 10 }, (_, token) =>
      choices.slice(2 * token, 2 * token + 2),
    );
    const counts = ofTokens.map((chosen) => chosen.filter((id) => id < 8).length);
    expect(new Set(counts)).toEqual(new Set([1, 2]));
    expect(load.reduce((sum, count) => sum + count)).toBe(
      counts.reduce((sum, count) => sum + count),
    );
    expect(loss).toBeGreaterThan(0);
    // Only a token with two experts can shift weight between them; the rest is what ε leaves.
    const largest = Math.max(...gradient.map(Math.abs));
    const shared = new Set(ofTokens.filter((chosen) => !chosen.includes(8)).flat());
    const moved = [...load.keys()].filter((id) =>
      gradient.slice(16 * id, 16 * id + 16).some((value) => Math.abs(value) > 1e-6 * largest),
    );
    expect(moved).toEqual([...shared].sort((a, b) => a - b));
  });

  it.skipIf(!gpu.available)("gives the same on WebGPU", { timeout: 60_000 }, async () => {
    const [wanted, found] = [await results(cpu), await results(webgpu)];
    expect(found.choices).toEqual(wanted.choices);
    expect(found.load).toEqual(wanted.load);
    expect(Math.abs(found.loss / wanted.loss - 1)).toBeLessThan(1e-5);
    const largest = Math.max(...wanted.gradient.map(Math.abs));
    const errors = found.gradient.map((value, index) => value - (wanted.gradient[index] ?? NaN));
    expect(Math.max(...errors.map(Math.abs))).toBeLessThan(1e-4 * largest);
  });
});

/** @param {() => Promise<import("@moiety/core").Backend>} create */
async function results(create) {
  const backend = await create();
  try {
    const { loss, choices, load, gradient } = await run(backend);
    return { loss, choices: [...choices], load: [...load], gradient: [...(gradient ?? [])] };
  } finally {
    await backend.dispose();
  }
}

/** @param {string} path */
function read(path) {
  return readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
}
