import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type Features, probe } from "./probe.ts";
import { type ChildProgram, type Ended, bundleChild } from "./testing/child.ts";

/** What the child prints. */
interface Found {
  readonly features: Features;
  readonly right?: boolean;
  readonly details?: Readonly<Record<string, unknown>>;
  readonly code?: string;
  readonly message?: string;
}

const [major = 0] = process.versions.node.split(".").map(Number);
const RELAXED = "--experimental-wasm-relaxed-simd";

function foundBy({ code, output, errors }: Ended): Found {
  // It ended by itself, although nobody disposed the backend: threads keep nothing alive.
  expect([code, errors]).toEqual([0, ""]);
  return JSON.parse(output) as Found;
}

describe("in a process of its own", () => {
  let child: ChildProgram;
  beforeAll(async () => {
    child = await bundleChild("backend");
  });
  afterAll(() => child.dispose());

  it("computes, and ends by itself with its threads idle", async () => {
    const { features, right, details } = foundBy(await child.run([], ["3"]));
    expect(right).toBe(true);
    expect(details).toMatchObject({ threads: 3, exact: !features.relaxedMadd });
    expect(features).toEqual(probe());
  });

  it.runIf(major === 20)("finds no relaxed SIMD in Node 20", () => {
    expect(probe()).toEqual({
      simd: true,
      relaxedMadd: false,
      relaxedDot: false,
      sharedMemory: true,
    });
  });

  it.runIf(major === 20)("finds it behind Node 20's flag, and right", async () => {
    const { features, right, details } = foundBy(await child.run([RELAXED]));
    expect(features).toMatchObject({ relaxedMadd: true, relaxedDot: true });
    expect(right).toBe(true);
    expect(details).toMatchObject({ exact: false, relaxedDot: true });
  });

  it.runIf(major >= 22)("finds all relaxed SIMD right", () => {
    expect(probe()).toEqual({
      simd: true,
      relaxedMadd: true,
      relaxedDot: true,
      sharedMemory: true,
    });
  });

  it.runIf(process.arch === "x64")("has no SIMD, and says so", async () => {
    // Without these instructions of the processor V8 has no vectors.
    const { code, message } = foundBy(await child.run(["--no-enable-sse4-1"]));
    expect([code, message]).toEqual(["UNSUPPORTED", "this engine has no WebAssembly SIMD"]);
  });

  it("may not start threads, and says what to do", async () => {
    const flag = major === 20 ? "--experimental-permission" : "--permission";
    const flags = ["--no-warnings", flag, "--allow-fs-read=*"];
    const { code, message } = foundBy(await child.run(flags));
    expect(code).toBe("UNSUPPORTED");
    expect(message).toMatch(/worker threads cannot start here .*use create\(\{ threads: 1 \}\)/);
    expect(foundBy(await child.run(flags, ["1"]))).toMatchObject({ right: true });
  });
});

describe("shared memory", () => {
  it.each([
    ["crossOriginIsolated", false],
    ["SharedArrayBuffer", undefined],
  ])("is missing where %s is %s", (name, value) => {
    vi.stubGlobal(name, value);
    try {
      expect(probe().sharedMemory).toBe(false);
    } finally {
      vi.unstubAllGlobals();
    }
  });
});
