import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cacheFolder, softwareEnvironment } from "../../../tools/webgpu/software.js";
import { requireWebGpu } from "./testing/adapter.ts";
import { computeOn } from "./testing/compute.ts";

const gpu = await requireWebGpu();
const software = (await softwareEnvironment()) !== undefined;

describe.skipIf(!gpu.available)("WebGPU in Node", () => {
  let device: GPUDevice;
  beforeAll(async () => {
    device = await gpu.device();
  });
  afterAll(() => device.destroy());

  it("computes", async () => {
    const values = Array.from({ length: 1000 }, (_, index) => (index % 7) - 3);
    expect(await computeOn(device, values)).toEqual(
      values.map((value, index) => 3 * value + index),
    );
  });

  it("survives collections of garbage while a device is in use", async () => {
    setFlagsFromString("--expose-gc");
    const collect: () => void = runInNewContext("gc");
    for (let round = 0; round < 4; round++) {
      const other = await gpu.device();
      collect();
      expect(await computeOn(other, [round])).toEqual([3 * round]);
      other.destroy();
    }
  });
});

describe.skipIf(!gpu.available || !software)("the packaged software driver", () => {
  it("is what the adapter runs on", async () => {
    const { info } = await gpu.adapter();
    expect(info.vendor).toBe("google");
    expect(info.architecture).toBe("swiftshader");
    expect(info.isFallbackAdapter).toBe(true);
  });

  it("comes, with its loader, out of the package and not from the system", () => {
    const folder = join(cacheFolder(), "swiftshader");
    const files = readFileSync("/proc/self/maps", "utf8")
      .split("\n")
      .map((line) => line.slice(line.indexOf("/")))
      .filter((file) => /\/lib(vulkan|vk_|lvp)[^/]*$/.test(file));
    expect([...new Set(files)].sort()).toEqual([
      join(folder, "libvk_swiftshader.so"),
      join(folder, "libvulkan.so.1"),
    ]);
  });
});

describe.skipIf(process.env["MOIETY_WEBGPU_ADAPTER"] !== "llvmpipe")("lavapipe", () => {
  it("has what SwiftShader lacks: half floats and wider subgroups", async () => {
    const { features, info } = await gpu.adapter();
    expect(features.has("shader-f16")).toBe(true);
    expect(info.subgroupMinSize).toBeGreaterThan(4);
  });
});
