import {
  type Backend,
  type LateFailure,
  type RunCall,
  ConfigError,
  DeviceLostError,
  OutOfMemoryError,
  UnsupportedError,
  add,
  fill,
  iota,
} from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type GpuHandle, type WebGpuOptions, create, driverOf, loseDevice } from "./index.ts";
import { KernelCall } from "./kernel.ts";
import { DeviceLife } from "./life.ts";
import { acquireDevice } from "./adapter.ts";
import { readOptions } from "./options.ts";
import { u32, write } from "./program.ts";
import { requireWebGpu } from "./testing/adapter.ts";

const gpu = await requireWebGpu();

const open: Backend[] = [];
const make = async (options?: WebGpuOptions): Promise<Backend> => {
  const backend = await create(options);
  open.push(backend);
  return backend;
};
const counting = (backend: Backend, count: number) =>
  iota(backend, { shape: [count], axis: 0, dtype: "u32" });
const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

afterAll(() => Promise.all(open.map((backend) => backend.dispose())));

describe("options", () => {
  it("refuses what makes no sense, by its key", async () => {
    for (const options of [
      { memoryLimit: 0 },
      { segmentBytes: 100 },
      { limits: "none" },
      { tiling: "best" },
    ]) {
      const [key] = Object.keys(options);
      await expect(create(options as WebGpuOptions)).rejects.toMatchObject({ code: "CONFIG", key });
    }
    expect(() => readOptions({ memoryLimit: Number.NaN })).toThrow(ConfigError);
  });

  it("says in one line that there is no adapter", async () => {
    const none = { requestAdapter: async () => null } as unknown as GPU;
    await expect(create({ gpu: none })).rejects.toThrow(UnsupportedError);
    await expect(create({ gpu: none })).rejects.toThrow(/^there is no WebGPU adapter: [^\n]*$/);
  });

  it("says which limits of an adapter are too small", async () => {
    const limits = {
      maxStorageBuffersPerShaderStage: 4,
      maxComputeWorkgroupStorageSize: 16_384,
      maxComputeInvocationsPerWorkgroup: 128,
      maxComputeWorkgroupSizeX: 256,
      maxComputeWorkgroupsPerDimension: 65_535,
      maxStorageBufferBindingSize: 2 ** 27,
    };
    const small = { requestAdapter: async () => ({ limits }) } as unknown as GPU;
    await expect(create({ gpu: small })).rejects.toThrow(
      "too small: maxStorageBuffersPerShaderStage is 4, but 8 is needed; " +
        "maxComputeInvocationsPerWorkgroup is 128, but 256 is needed",
    );
  });
});

describe.skipIf(!gpu.available)("the driver", () => {
  it("takes a device from outside, and leaves it alive", async () => {
    const device = await gpu.device();
    const backend = await create({ device });
    expect([...(await counting(backend, 5).read())]).toEqual(upTo(5));
    expect(backend.capabilities.recovers).toBe(false);
    await expect(backend.recover()).rejects.toThrow(UnsupportedError);
    await backend.dispose();
    const outcome = await Promise.race([device.lost, Promise.resolve("alive")]);
    expect(outcome).toBe("alive");
    device.destroy();
  });

  it("works at the default limits and without optional features", async () => {
    const backend = await make({ limits: "default", features: [] });
    expect(backend.capabilities.limits.bindingBytes).toBe(2 ** 27);
    expect(backend.capabilities.details).toMatchObject({ shaderF16: false, subgroups: false });
    const limits = driverOf(backend)?.device.limits;
    expect(limits?.maxStorageBuffersPerShaderStage).toBe(8);
    expect([...(await counting(backend, 5).read())]).toEqual(upTo(5));
  });

  it("has room for more invocations than one dimension of workgroups", async () => {
    const backend = await make();
    const count = 65_535 * 64 + 100;
    const values = await counting(backend, count).read();
    expect(values[count - 1]).toBe(count - 1);
    expect(values.length).toBe(count);
  });

  it("keeps tensors in segments below the contract", async () => {
    const backend = await make({ segmentBytes: 256 });
    const numbers = counting(backend, 300);
    expect([...(await numbers.read())]).toEqual(upTo(300));
    numbers.dispose();
    const bytes = new Uint8Array(1001).map((_, index) => index % 251);
    const tensor = backend.tensor(bytes);
    expect(await tensor.read()).toEqual(bytes);
    expect(backend.statistics().liveBytes).toBe(1001);
  });

  it("takes uploads in pieces of any size", async () => {
    const backend = await make({ segmentBytes: 256 });
    const bytes = new Uint8Array(600).map((_, index) => (index * 7) % 256);
    const upload = backend.upload({ shape: [600], dtype: "u8" });
    for (let at = 0, step = 1; at < 600; at += step, step = (step * 3) % 97) {
      step = Math.min(step, 600 - at);
      upload.write(at, bytes.slice(at, at + step));
    }
    expect(await upload.finish().read()).toEqual(bytes);
  });

  it("lets an upload wait for work that still reads its buffer", async () => {
    const backend = await make();
    const sums = upTo(20).map((round) => {
      // Each freed buffer is used again at once, while its readers are only queued.
      const given = backend.tensor(new Float32Array(64).fill(round));
      const sum = add(given, given);
      given.dispose();
      return sum;
    });
    for (const [round, sum] of sums.entries()) {
      expect([...(await sum.read())]).toEqual(new Array(64).fill(2 * round));
    }
  });

  it("counts what it does, and reads nothing back by itself", async () => {
    const backend = await make();
    const driver = driverOf(backend);
    const tensor = counting(backend, 100);
    await backend.sync();
    expect(driver?.counters()).toMatchObject({ dispatches: 1, submits: 1, maps: 0 });
    await tensor.read();
    expect(driver?.counters().maps).toBe(1);
    expect(driverOf({ ...backend, capabilities: { ...backend.capabilities } })).toBeUndefined();
  });

  it("uses freed buffers again", async () => {
    const backend = await make();
    for (let round = 0; round < 50; round++) counting(backend, 1000).dispose();
    await backend.sync();
    expect(driverOf(backend)?.counters().buffersCreated).toBe(1);
    expect(backend.statistics()).toMatchObject({ liveBuffers: 0, liveBytes: 0, peakBytes: 4000 });
  });

  it("throws OutOfMemoryError over its limit, and stays usable", async () => {
    const backend = await make({ memoryLimit: 4096 });
    const kept = counting(backend, 1000);
    expect(() => counting(backend, 1000)).toThrow(OutOfMemoryError);
    expect(() => counting(backend, 1000)).toThrow(/^iota: no room for 4000 bytes: 4000 of 4096/);
    expect(() => backend.tensor(new Float32Array(1000))).toThrow(OutOfMemoryError);
    kept.dispose();
    expect((await counting(backend, 1000).read())[999]).toBe(999);
  });

  it("turns an allocation that the device refuses into OutOfMemoryError where it is read", async () => {
    const device = await gpu.device();
    const refused = { message: "no room" } as GPUError;
    const { popErrorScope } = device;
    let refusals = 1;
    device.popErrorScope = async () => {
      const real = await popErrorScope.call(device);
      return refusals-- > 0 ? refused : real;
    };
    const backend = await make({ device });
    const lost = counting(backend, 2 ** 23);
    const dependent = add(lost, lost);
    const other = counting(backend, 10);
    await expect(dependent.read()).rejects.toThrow(OutOfMemoryError);
    await expect(lost.read()).rejects.toThrow(/no room/);
    expect([...(await other.read())]).toEqual(upTo(10));
    lost.dispose();
    dependent.dispose();
    expect((await counting(backend, 2 ** 23).read())[5]).toBe(5);
  });
});

/** A call that nothing but a dispatch is wanted of. */
function bareCall(life: DeviceLife): KernelCall {
  const op = { name: "test", inputs: [], outputs: ["y"], kernel: "optional", dynamic: [] } as const;
  const call: RunCall<GpuHandle> = {
    op,
    key: "test",
    inputs: [],
    attributes: {},
    outputs: [{ shape: [64], dtype: "u32" }],
    residuals: [],
  };
  return new KernelCall(call, life);
}

describe.skipIf(!gpu.available)("late failures", () => {
  const failures: LateFailure<GpuHandle>[] = [];
  const lifeWith = async (debug: boolean): Promise<DeviceLife> => {
    const settings = readOptions({ debug });
    failures.length = 0;
    const report = (error: LateFailure<GpuHandle>["error"], handles: readonly GpuHandle[]) =>
      void failures.push({ error, handles });
    return new DeviceLife(await acquireDevice(settings), settings, 0, report);
  };
  const dispatch = (life: DeviceLife, name: string, main: string, declarations = ""): GpuHandle => {
    const call = bareCall(life);
    const y = call.make(0);
    call.dispatch(
      {
        name,
        operands: { y: write(y, "u32") },
        params: { count: u32(64) },
        text: () => ({ declarations, main }),
      },
      { invocations: 64 },
    );
    life.issued(call, [y]);
    return y;
  };

  it("reports a kernel that does not compile, once for each call, and goes on", async () => {
    const life = await lifeWith(false);
    const bad = dispatch(life, "bad", "store_y(index, nonsense);");
    const good = dispatch(life, "good", "store_y(index, index);");
    const values = await life.read(good, 0, 256);
    expect(new Uint32Array(values.buffer)[63]).toBe(63);
    expect(failures).toHaveLength(1);
    expect(failures[0]?.handles).toEqual([bad]);
    expect(failures[0]?.error).toBeInstanceOf(UnsupportedError);
    expect(failures[0]?.error.message).toMatch(/^the WGSL kernel bad\S* did not compile[^\n]*$/);
    await expect(life.settlePipelines()).rejects.toThrow(/bad/);
    life.end(new DeviceLostError("done"));
  });

  it("names the call of a GPU error in debug mode", async () => {
    const life = await lifeWith(true);
    // More workgroup memory than there is passes WGSL and fails the pipeline.
    const big = life.context.workgroupBytes / 4 + 1;
    const bad = dispatch(
      life,
      "greedy",
      "scratch[lid] = index; store_y(index, scratch[lid]);",
      `var<workgroup> scratch: array<u32, ${big}>;`,
    );
    await life.sync();
    await Promise.resolve();
    expect(failures[0]?.handles).toEqual([bad]);
    life.end(new DeviceLostError("done"));
  });

  it("refuses two texts under one name in debug mode", async () => {
    const life = await lifeWith(true);
    dispatch(life, "same", "store_y(index, 1u);");
    expect(() => dispatch(life, "same", "store_y(index, 2u);")).toThrow(/share the name same/);
    life.end(new DeviceLostError("done"));
  });

  it("rejects a wait with an error that no call was blamed for", async () => {
    const life = await lifeWith(false);
    const { device } = life.context;
    device.createBuffer({ size: 4, usage: 0xffff_ffff });
    await expect(life.sync()).rejects.toThrow(/the GPU refused a command: .*debug: true/);
    await life.sync();
    life.end(new DeviceLostError("done"));
  });
});

describe.skipIf(!gpu.available)("a lost device", () => {
  let backend: Backend;

  beforeAll(async () => {
    backend = await make();
  });

  it("shows as DeviceLostError everywhere, until recover()", async () => {
    const before = counting(backend, 10);
    await backend.sync();
    const reading = before.read().catch((error: unknown) => error);
    await loseDevice(backend);
    const outcome = await reading;
    expect(outcome instanceof DeviceLostError || outcome instanceof Uint32Array).toBe(true);
    await expect(before.read()).rejects.toThrow(DeviceLostError);
    await expect(backend.sync()).rejects.toThrow(DeviceLostError);
    expect(() => counting(backend, 10)).toThrow(DeviceLostError);
    expect(() => backend.tensor([1, 2])).toThrow(DeviceLostError);
    expect(() => add(before, before)).toThrow(DeviceLostError);

    await backend.recover();
    expect([...(await counting(backend, 10).read())]).toEqual(upTo(10));
    await backend.sync();
    await expect(before.read()).rejects.toThrow(DeviceLostError);
    before.dispose();
    const { liveBuffers } = backend.statistics();
    expect(liveBuffers).toBeLessThanOrEqual(1);
  });

  it("can be lost and brought back again", async () => {
    await loseDevice(backend);
    await backend.recover();
    await loseDevice(backend);
    await backend.recover();
    expect((await fill(backend, { shape: [], value: 3, dtype: "f32" }).item()) ?? 0).toBe(3);
  });

  it("comes back on a device from a function", async () => {
    const device = () => gpu.device();
    const given = await make({ device });
    await loseDevice(given);
    await given.recover();
    expect([...(await counting(given, 3).read())]).toEqual(upTo(3));
  });

  it("frees nothing twice, and rejects what is under way when it is disposed", async () => {
    const given = await create();
    const tensor = counting(given, 10);
    const reading = tensor.read();
    await given.dispose();
    await expect(reading).rejects.toThrow(DeviceLostError);
    await given.dispose();
    tensor.dispose();
  });
});
