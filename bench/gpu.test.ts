import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { requireWebGpu } from "../packages/backend-webgpu/src/testing/adapter.ts";
import { bundle, linkWebGpu } from "./launch/bundle.js";
import type { Row } from "./src/rows.ts";

const gpu = await requireWebGpu();
let folder = "";
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "bench-gpu-"));
  await bundle("gpu.ts", join(folder, "gpu.mjs"), true);
  await linkWebGpu(folder);
});
afterAll(() => rmSync(folder, { recursive: true }));

interface Outcome {
  readonly code: number | null;
  readonly output: string;
  readonly errors: string;
}

/** Runs the bundle as it would run on another machine: nothing beside it but `webgpu`. */
function run(options: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ["gpu.mjs", ...options], {
      cwd: folder,
      env: { ...process.env, OUT: "", ...environment },
    });
    const texts = { output: "", errors: "" };
    child.stdout.on("data", (text: Buffer) => (texts.output += text.toString()));
    child.stderr.on("data", (text: Buffer) => (texts.errors += text.toString()));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, ...texts }));
  });
}

const tiny = ["--hidden=32", "--intermediate=48", "--experts=4", "--top-k=2", "--samples=1"];

describe("the GPU benchmark in one file", () => {
  it("needs nothing but node and webgpu", () => {
    const code = readFileSync(join(folder, "gpu.mjs"), "utf8");
    const imported = [...code.matchAll(/^(?:import|export) .*?from\s*"([^"]+)"/gm)].map(
      ([, name]) => name,
    );
    expect(imported.length).toBeGreaterThan(0);
    expect(imported.filter((name) => !name?.startsWith("node:"))).toEqual([]);
  });

  it.skipIf(!gpu.available)("measures a layer in both storages", { timeout: 120_000 }, async () => {
    const { code, output, errors } = await run([...tiny, "--tokens=1,9"], { OUT: folder });
    expect([code, errors]).toEqual([0, expect.stringContaining("moiety-gpu.json")]);
    expect(output).toMatch(/^adapter: \S/);
    const rows: Row[] = JSON.parse(readFileSync(join(folder, "moiety-gpu.json"), "utf8"));
    expect(rows.map(({ name }) => name)).toEqual([
      "one dispatch of 256 sums, in a chain",
      "forward, T = 1, f32 weights",
      "forward, T = 9, f32 weights",
      "forward, T = 1, f16 weights",
      "forward, T = 9, f16 weights",
    ]);
    for (const row of rows) {
      expect(row.oursMs).toBeGreaterThan(0);
      expect(row["machine"]).toMatchObject({
        adapter: expect.any(String),
        date: expect.any(String),
      });
    }
    for (const row of rows.slice(1)) {
      expect(row["tflops"]).toBeGreaterThan(0);
      expect(row["tbps"]).toBeGreaterThan(0);
      expect(row["expertsUsed"]).toBeLessThanOrEqual(4);
    }
  });

  it.each([
    [["--tokens=0"], "--tokens takes whole numbers from 1"],
    [["--experts=4,5"], "--experts takes one number"],
    [["--unknown=1"], "--unknown"],
  ])("refuses %j in one line", async (options, wanted) => {
    const { code, output, errors } = await run(options);
    expect([code, output]).toEqual([1, ""]);
    expect(errors).toContain(wanted);
    expect(errors.trim().split("\n").length).toBe(1);
  });

  it.skipIf(!gpu.available)("refuses a storage it does not know", async () => {
    const { code, errors } = await run([...tiny, "--storage=f64"]);
    expect(code).toBe(1);
    expect(errors).toContain('--storage takes f32 and f16, not "f64"');
  });

  const loader = process.platform === "linux";
  it.runIf(loader)("says in one line where there is no adapter", async () => {
    const { code, errors } = await run(tiny, {
      VK_DRIVER_FILES: "",
      VK_ICD_FILENAMES: "/none.json",
    });
    expect(code).toBe(1);
    expect(errors).toContain("there is no WebGPU adapter");
  });
});
