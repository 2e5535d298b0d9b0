import {
  type Backend,
  DeviceLostError,
  OutOfMemoryError,
  ShapeError,
  UnsupportedError,
  UseAfterDisposeError,
  fill,
  iota,
} from "@moiety/core";
import { afterEach, describe, expect, it, vi } from "vitest";
import { WasmDriver } from "./driver.ts";
import { create, loseDevice } from "./index.ts";
import type { WasmOptions } from "./options.ts";
import { watchWorkers } from "./testing/workers.ts";

const open: Backend[] = [];
const make = async (options?: WasmOptions): Promise<Backend> => {
  const backend = await create(options);
  open.push(backend);
  return backend;
};
const driverOf = (backend: Backend): WasmDriver => {
  const driver = WasmDriver.of(backend.capabilities);
  if (driver === undefined) throw new Error("not a wasm backend");
  return driver;
};
const counting = (backend: Backend, count: number) =>
  iota(backend, { shape: [count], axis: 0, dtype: "u32" });
const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

afterEach(async () => {
  vi.restoreAllMocks();
  await Promise.all(open.splice(0).map((backend) => backend.dispose()));
});

describe("the wasm backend", () => {
  it.each([1, 2, 3])("fills with %i threads, and keeps nothing", async (threads) => {
    const backend = await make({ threads });
    for (let round = 0; round < 10; round++) {
      const x = fill(backend, { shape: [100_003], value: 2.5 + round, dtype: "f32" });
      const values = await x.read();
      expect(values.length).toBe(100_003);
      expect(values.every((value) => value === 2.5 + round)).toBe(true);
      x.dispose();
    }
    expect(backend.statistics()).toMatchObject({ liveBytes: 0, liveBuffers: 0 });
  });

  it("tells what it is", async () => {
    const backend = await make({ threads: 2, exact: true });
    expect(backend.name).toBe("wasm");
    expect(backend.capabilities).toMatchObject({
      determinism: "bitwise",
      batchInvariant: true,
      recovers: true,
      details: { threads: 2, exact: true },
    });
    expect(JSON.stringify(backend.capabilities)).not.toMatch(/~driver/);
  });

  it("takes uploads in pieces", async () => {
    const backend = await make({ threads: 1 });
    const bytes = new Uint8Array(600).map((_, index) => (index * 7) % 256);
    const upload = backend.upload({ shape: [600], dtype: "u8" });
    for (let at = 0; at < 600; at += 97) upload.write(at, bytes.slice(at, at + 97));
    expect(await upload.finish().read()).toEqual(bytes);
  });

  it("refuses what is outside a buffer, and ops without a kernel", async () => {
    const driver = driverOf(await make({ threads: 1 }));
    const handle = driver.allocate({ shape: [4], dtype: "u8" });
    expect(() => driver.write(handle, 2, new Uint8Array(3))).toThrow(ShapeError);
    await expect(driver.read(handle, -1, 2)).rejects.toThrow(ShapeError);
    await expect(driver.read(handle, 3, 2)).rejects.toThrow(ShapeError);
    for (const name of ["no such op", "toString"]) {
      const op = {
        name,
        inputs: [],
        outputs: [],
        dynamic: [],
        kernel: "optional" as const,
      };
      const call = { op, key: "", inputs: [], attributes: {}, outputs: [], residuals: [] };
      expect(() => driver.run(call)).toThrow(UnsupportedError);
    }
    driver.free(handle);
    expect(() => driver.write(handle, 0, new Uint8Array(1))).toThrow(UseAfterDisposeError);
    await expect(driver.read(handle, 0, 1)).rejects.toThrow(UseAfterDisposeError);
  });

  it("names the call that has no room, and leaves nothing behind", async () => {
    const backend = await make({ threads: 1, memoryLimit: 1000 });
    expect(() => counting(backend, 251)).toThrow(OutOfMemoryError);
    expect(() => counting(backend, 251)).toThrow(/^iota: no room for 1004 bytes/);
    expect(() => backend.tensor(new Uint8Array(1001))).toThrow(OutOfMemoryError);
    expect(backend.statistics().liveBytes).toBe(0);
    expect(backend.capabilities.limits.totalBytes).toBe(1000);
    expect([...(await counting(backend, 250).read())]).toEqual(upTo(250));
  });

  it("names what is over 4 GiB, and goes on", async () => {
    const backend = await make({ threads: 2 });
    const { bufferBytes = 0 } = backend.capabilities.limits;
    expect(bufferBytes).toBeLessThan(2 ** 32);
    expect(() => backend.upload({ shape: [bufferBytes], dtype: "u8" })).toThrow(OutOfMemoryError);
    expect(() => backend.upload({ shape: [3, 2 ** 31], dtype: "f32" })).toThrow(OutOfMemoryError);
    expect([...(await counting(backend, 9).read())]).toEqual(upTo(9));
  });

  it("says so where the engine refuses the library", async () => {
    vi.spyOn(WebAssembly, "compile").mockRejectedValueOnce(
      new WebAssembly.CompileError("no such opcode"),
    );
    const refused = create({ threads: 2 });
    await expect(refused).rejects.toThrow(UnsupportedError);
    await expect(refused).rejects.toThrow(/this engine refuses the kernels: .*no such opcode/);
  });

  it("frees its threads when it is disposed, and throws from then on", async () => {
    const workers = watchWorkers();
    const backend = await make({ threads: 3 });
    const tensor = counting(backend, 5);
    const driver = driverOf(backend);
    const handle = driver.allocate({ shape: [1], dtype: "f32" });
    const ended = workers.map((worker) => new Promise<void>((done) => worker.on("exit", done)));
    expect(ended.length).toBe(2);
    await backend.dispose();
    await Promise.all(ended);
    await backend.dispose();
    expect(() => counting(backend, 5)).toThrow(UseAfterDisposeError);
    tensor.dispose();
    expect(() => driver.allocate({ shape: [1], dtype: "f32" })).toThrow(DeviceLostError);
    await expect(driver.read(handle, 0, 4)).rejects.toThrow(DeviceLostError);
    driver.free(handle);
    expect(driver.statistics()).toEqual({ liveBuffers: 0, liveBytes: 0, peakBytes: 0 });
  });
});

describe.each([1, 2])("lost, with %i threads", (threads) => {
  it("shows as DeviceLostError everywhere, until recover()", async () => {
    const backend = await make({ threads });
    const before = counting(backend, 10);
    await loseDevice(backend);
    await expect(before.read()).rejects.toThrow(DeviceLostError);
    await expect(before.read()).rejects.toThrow(/recover\(\) starts new ones/);
    await expect(backend.sync()).rejects.toThrow(DeviceLostError);
    expect(() => counting(backend, 10)).toThrow(DeviceLostError);
    expect(() => backend.tensor([1, 2])).toThrow(DeviceLostError);
    await backend.recover();
    expect([...(await counting(backend, 10).read())]).toEqual(upTo(10));
    await backend.sync();
    await expect(before.read()).rejects.toThrow(DeviceLostError);
    before.dispose();
    expect(backend.statistics().liveBuffers).toBe(1);
  });

  it("recovers again, also twice at once, and without having been lost", async () => {
    const workers = watchWorkers();
    const backend = await make({ threads });
    await loseDevice(backend);
    await Promise.all([backend.recover(), backend.recover()]);
    expect(workers.length).toBe(2 * (threads - 1));
    await backend.recover();
    expect([...(await counting(backend, 3).read())]).toEqual(upTo(3));
  });

  it("ends what was recovering when it is disposed", async () => {
    const workers = watchWorkers();
    const backend = await create({ threads });
    const recovering = backend.recover();
    await backend.dispose();
    const ended = workers.map((worker) => new Promise<void>((done) => worker.on("exit", done)));
    await recovering;
    // Workers of both lives are gone; those that ended before are not waited for.
    const late = new Promise<void>((done) => setTimeout(done, 1000));
    await Promise.race([Promise.all(ended), late]);
    expect(() => counting(backend, 1)).toThrow(UseAfterDisposeError);
    await expect(backend.recover()).rejects.toThrow(UseAfterDisposeError);
  });
});
