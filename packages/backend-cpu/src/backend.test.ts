import {
  type OpIdentity,
  type RunCall,
  ConfigError,
  OutOfMemoryError,
  ShapeError,
  UnsupportedError,
  UseAfterDisposeError,
  add,
  defineBackend,
  donate,
  groupRows,
  isNaN,
  matmul,
  mul,
  softmax,
  sum,
} from "@moiety/core";
import { allOps } from "@moiety/core/ops";
import { describe, expect, it } from "vitest";
import { cpuDriver, create } from "./index.ts";
import defaultCreate from "./index.ts";
import { type CpuBuffer, Memory } from "./memory.ts";
import { numbersOf, valuesOf } from "./testing/naive.ts";

describe("create", () => {
  it("is also the default export", () => {
    expect(defaultCreate).toBe(create);
  });

  it("has a kernel for every required op, and says what it can", async () => {
    const backend = await create();
    expect(backend.name).toBe("cpu");
    const required = allOps.filter((op) => op.identity.kernel !== "optional");
    expect(required.map((op) => op.name).filter((name) => !backend.supports({ name }))).toEqual([]);
    const known = allOps.map((op) => op.name);
    expect(backend.capabilities.ops.filter((name) => !known.includes(name))).toEqual([]);
    expect(backend.capabilities).toMatchObject({
      determinism: "bitwise",
      batchInvariant: true,
      accumulation: { dtype: "f64", order: "index order" },
      formats: ["q8_row", "q8_block32", "q4_block32", "mxfp4"],
    });
    expect(new Set(backend.capabilities.dtypes).size).toBe(8);
  });

  it("refuses a senseless limit", async () => {
    await expect(create({ memoryLimit: 0 })).rejects.toThrow(ConfigError);
    await expect(create({ memoryLimit: Number.NaN })).rejects.toThrow(ConfigError);
  });
});

describe("memory", () => {
  it("counts live buffers, bytes and the peak exactly", async () => {
    const backend = await create();
    const a = backend.tensor(new Float32Array(1000));
    const b = backend.tensor(new Float64Array(10));
    expect(backend.statistics()).toMatchObject({
      liveBuffers: 2,
      liveBytes: 4080,
      peakBytes: 4080,
    });
    const c = add(a, a);
    expect(backend.statistics()).toMatchObject({
      liveBuffers: 3,
      liveBytes: 8080,
      peakBytes: 8080,
    });
    a.dispose();
    c.dispose();
    expect(backend.statistics()).toMatchObject({ liveBuffers: 1, liveBytes: 80, peakBytes: 8080 });
    b.dispose();
    expect(backend.statistics()).toMatchObject({ liveBuffers: 0, liveBytes: 0, peakBytes: 8080 });
    backend.tensor([1]);
    expect(backend.statistics()).toMatchObject({ liveBuffers: 1, liveBytes: 4, peakBytes: 8080 });
  });

  it("gives nothing of a freed buffer away: equal results in fresh and recycled memory", async () => {
    const backend = await create();
    const shape = [40, 40];
    const step = async (): Promise<number[]> => {
      const x = backend.tensor(numbersOf(1, 1600), { shape });
      const out = backend.scope(() => softmax(mul(matmul(x, x), sum(x, [0]))));
      const values = await valuesOf(out);
      x.dispose();
      out.dispose();
      return values;
    };
    const fresh = await step();
    for (let round = 0; round < 3; round++) {
      backend.tensor(new Float32Array(1600).fill(Number.NaN)).dispose();
      expect(await step()).toEqual(fresh);
    }
    expect(backend.statistics().liveBuffers).toBe(0);
  });

  it("throws a named error at the limit, leaves nothing behind, and goes on", async () => {
    const backend = await create({ memoryLimit: 10_000 });
    const a = backend.tensor(new Float32Array(2000));
    expect(() => backend.tensor(new Float32Array(501))).toThrow(OutOfMemoryError);
    const failed = catchError(() => add(a, 1));
    expect(failed).toBeInstanceOf(OutOfMemoryError);
    expect(failed).toMatchObject({ op: "binary", bytes: 8000, shapes: [[2000], null] });
    expect(backend.statistics()).toMatchObject({ liveBuffers: 1, liveBytes: 8000 });
    const inPlace = add(donate(a), 1);
    expect((await valuesOf(inPlace))[1999]).toBe(1);
    inPlace.dispose();
    expect(backend.tensor(new Float32Array(2500)).size).toBe(2500);
  });

  it("gives back the outputs that were made before one did not fit", async () => {
    const backend = await create({ memoryLimit: 1100 });
    const ids = backend.tensor(new Int32Array(100));
    expect(() => groupRows(ids, { groups: 2 })).toThrow(OutOfMemoryError);
    expect(backend.statistics()).toMatchObject({ liveBuffers: 1, liveBytes: 400 });
  });

  it("goes on using freed blocks again", () => {
    const memory = new Memory(Number.POSITIVE_INFINITY);
    const first = memory.allocate(2 ** 24);
    const { block } = first;
    memory.free(first);
    for (let round = 0; round < 40; round++) {
      const again = memory.allocate(2 ** 24);
      expect(again.block).toBe(block);
      memory.free(again);
    }
    const other = memory.allocate(2 ** 24 + 8);
    expect(other.byteLength).toBe(2 ** 24 + 8);
  });

  it("turns a refusal by the machine into a named error", () => {
    const memory = new Memory(Number.POSITIVE_INFINITY);
    const error = catchError(() => memory.allocate(2 ** 52));
    expect(error).toBeInstanceOf(OutOfMemoryError);
    expect(error).toMatchObject({ bytes: 2 ** 52 });
    expect(memory.statistics()).toEqual({ liveBuffers: 0, liveBytes: 0, peakBytes: 0 });
  });
});

describe("driver", () => {
  const spec = { shape: [4], dtype: "f32" } as const;
  const identity = (name: string): OpIdentity => ({
    name,
    inputs: ["x"],
    outputs: ["output"],
    kernel: "optional",
    dynamic: [],
  });
  const call = (handle: CpuBuffer, name: string): RunCall<CpuBuffer> => ({
    op: identity(name),
    key: name,
    inputs: [{ handle, ...spec, donated: false }],
    attributes: { kind: "neg" },
    outputs: [spec],
    residuals: [],
  });

  it("moves bytes in and out, and refuses those outside", async () => {
    const driver = cpuDriver();
    const handle = driver.allocate(spec);
    driver.write(handle, 0, new Uint8Array(16));
    driver.write(handle, 4, Uint8Array.of(1, 2, 3, 4));
    expect([...(await driver.read(handle, 4, 4))]).toEqual([1, 2, 3, 4]);
    expect(() => driver.write(handle, 13, new Uint8Array(4))).toThrow(ShapeError);
    await expect(driver.read(handle, 0, 17)).rejects.toThrow(ShapeError);
    await driver.sync();
  });

  it("reads a copy that later writes do not change", async () => {
    const driver = cpuDriver();
    const handle = driver.allocate(spec);
    driver.write(handle, 0, new Uint8Array(16).fill(1));
    const bytes = await driver.read(handle, 0, 16);
    driver.write(handle, 0, new Uint8Array(16).fill(2));
    expect(bytes[0]).toBe(1);
  });

  it("refuses unknown ops, also those named like members of every object", () => {
    const driver = cpuDriver();
    const handle = driver.allocate(spec);
    for (const name of ["acme/swizzle", "constructor", "toString"]) {
      expect(() => driver.run(call(handle, name))).toThrow(UnsupportedError);
    }
  });

  it("refuses freed buffers", () => {
    const driver = cpuDriver();
    const handle = driver.allocate(spec);
    driver.free(handle);
    expect(() => driver.free(handle)).toThrow(UseAfterDisposeError);
    expect(() => driver.write(handle, 0, new Uint8Array(1))).toThrow(UseAfterDisposeError);
    expect(() => driver.run(call(handle, "unary"))).toThrow(UseAfterDisposeError);
    expect(driver.statistics().liveBuffers).toBe(0);
  });

  it("can be wrapped", async () => {
    const inner = cpuDriver();
    const names: string[] = [];
    const backend = defineBackend({
      specVersion: 1,
      name: "spy",
      capabilities: inner.capabilities,
      allocate: (tensor) => inner.allocate(tensor),
      write: (handle, offset, bytes) => inner.write(handle, offset, bytes),
      read: (handle, offset, length) => inner.read(handle, offset, length),
      free: (handle) => inner.free(handle),
      run: (request) => {
        names.push(request.op.name);
        return inner.run(request);
      },
      sync: () => inner.sync(),
      statistics: () => inner.statistics(),
      dispose: () => inner.dispose(),
    });
    expect(await valuesOf(isNaN(backend.tensor([1, Number.NaN])))).toEqual([0, 1]);
    expect(names).toEqual(["unary"]);
  });
});

function catchError(body: () => unknown): unknown {
  try {
    body();
  } catch (error) {
    return error;
  }
  return undefined;
}
