/** WebGPU in Node, for tests. */
export interface TestGpu {
  /** Whether there is an adapter; when there is none, the tests that need one have to be skipped. */
  readonly available: boolean;
  /** A new adapter at each call, since an adapter makes one device only. */
  adapter(options?: GPURequestAdapterOptions): Promise<GPUAdapter>;
  /** A device of a new adapter. */
  device(descriptor?: GPUDeviceDescriptor): Promise<GPUDevice>;
}

/**
 * Dawn's instance dies with the object that `create` returned, and takes the process along if a
 * device is still in use: what has once been made is kept to the end.
 */
const instances: GPU[] = [];

/**
 * Looks for an adapter. Where there is none it throws if `MOIETY_REQUIRE_WEBGPU` is 1, and says
 * otherwise what is missing: `describe.skipIf(!gpu.available)`. It also throws when the adapter is
 * not the one that `MOIETY_WEBGPU_ADAPTER` names (a part of its description), so that no test passes
 * on another driver than it was meant for.
 */
export async function requireWebGpu(): Promise<TestGpu> {
  const found = await findInstance();
  if (typeof found === "string") {
    if (process.env["MOIETY_REQUIRE_WEBGPU"] === "1") throw new Error(found);
    process.stderr.write(`\n*** WEBGPU IS NOT TESTED *** ${found}\n`);
    return missing(found);
  }
  const adapter = async (options?: GPURequestAdapterOptions): Promise<GPUAdapter> => {
    const adapter = await found.requestAdapter(options);
    if (adapter === null) throw new Error("no adapter with these options");
    return adapter;
  };
  return {
    available: true,
    adapter,
    device: async (descriptor) => (await adapter()).requestDevice(descriptor),
  };
}

function missing(reason: string): TestGpu {
  const none = (): Promise<never> => Promise.reject(new Error(reason));
  return { available: false, adapter: none, device: none };
}

/** The instance, or why there is none. */
async function findInstance(): Promise<GPU | string> {
  let instance = instances[0];
  if (instance === undefined) {
    try {
      const { create } = await import("webgpu");
      instance = create([]);
    } catch (error) {
      return `the npm package webgpu does not load here (${String(error)}).`;
    }
    instances.push(instance);
  }
  const adapter = await instance.requestAdapter();
  if (adapter === null) return `No WebGPU adapter: ${advice()}`;
  const { vendor, architecture, device, description } = adapter.info;
  const wanted = process.env["MOIETY_WEBGPU_ADAPTER"] ?? "";
  const given = [vendor, architecture, device, description].join(" ");
  if (!given.includes(wanted)) {
    throw new Error(`the WebGPU adapter is "${given}", but these tests are for "${wanted}"`);
  }
  return instance;
}

function advice(): string {
  if (process.platform === "linux" && process.arch === "x64") {
    return process.env["MOIETY_WEBGPU"] === "system"
      ? "install a Vulkan driver (Mesa 25 or newer, and libvulkan1), or unset MOIETY_WEBGPU."
      : "start the tests with `npm test` or `npx vitest` in the repository's root.";
  }
  return process.platform === "linux"
    ? "install a Vulkan driver (Mesa 25 or newer, and libvulkan1)."
    : "this system's graphics driver offers none.";
}
