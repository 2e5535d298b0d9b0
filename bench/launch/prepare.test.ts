import { describe, expect, it } from "vitest";
import { adapterEnvironment } from "./adapter.js";
import { prepare } from "./prepare.js";

describe("prepare", () => {
  it.each([
    [["memory"], 'there is no benchmark "memory"; there are: kernels, moe, generate, webgpu, gpu'],
    [["webgpu", "--bundle", "x.mjs"], "the benchmark webgpu cannot be carried away"],
    [["webgpu", "--adapter"], "--adapter needs a value"],
    [["kernels", "--adapter=lavapipe"], "--adapter is for WebGPU alone"],
    [["gpu", "--adapter=hardware"], '--adapter is system, lavapipe, swiftshader, not "hardware"'],
  ])("refuses %j", async (rest, wanted) => {
    await expect(prepare(rest, process.env)).rejects.toThrow(wanted);
  });

  it("bundles a program, and hands on the options that are the program's", async () => {
    const [kernels, ...none] = await prepare(["kernels", "--samples", "1"], process.env);
    expect(none).toEqual([]);
    expect(kernels?.file).toMatch(/^bench.dist.kernels\.mjs$/);
    expect(kernels?.options).toEqual(["--samples", "1"]);
    expect(kernels?.environment).toEqual({});
  });
});

describe("adapterEnvironment", () => {
  it("takes the machine's own driver where it is asked to", async () => {
    expect(await adapterEnvironment("system")).toEqual({ MOIETY_WEBGPU: "system" });
  });

  it.skipIf(process.platform !== "linux" || process.arch !== "x64")(
    "takes the packaged driver where it is asked to",
    async () => {
      expect(await adapterEnvironment("swiftshader")).toMatchObject({
        MOIETY_WEBGPU: "software",
        VK_DRIVER_FILES: expect.stringContaining("swiftshader"),
      });
    },
  );
});
