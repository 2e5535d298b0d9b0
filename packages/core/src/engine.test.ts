import { describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import type { Backend, Driver, LateFailure, RunCall } from "./contract.ts";
import {
  ConfigError,
  DTypeError,
  DeviceLostError,
  ShapeError,
  UnsupportedError,
  UseAfterDisposeError,
} from "./errors.ts";
import { byteLength, defineBackend } from "./engine.ts";
import { defineOp } from "./op.ts";
import { add, gelu, matmul, mul, softmax, sum, topK } from "./ops/index.ts";
import { type Tensor, donate, stopGradient } from "./tensor.ts";

interface FakeBuffer {
  readonly bytes: Uint8Array;
}

/** A driver that runs only `binary` (on f32, as a sum), and can be told to fail late. */
class FakeDriver implements Driver<FakeBuffer> {
  readonly specVersion = 1 as const;
  readonly name = "fake";
  readonly capabilities = {
    dtypes: ["f32"] as const,
    ops: ["binary"],
    formats: [],
    accumulation: { dtype: "f32", order: "index" } as const,
    determinism: "bitwise" as const,
    batchInvariant: true,
    limits: {},
  };
  readonly calls: RunCall<FakeBuffer>[] = [];
  readonly results: FakeBuffer[] = [];
  freed = 0;
  disposals = 0;
  fail: (failure: LateFailure<FakeBuffer>) => void = () => undefined;

  allocate(spec: { shape: readonly number[]; dtype: "f32" }): FakeBuffer {
    return { bytes: new Uint8Array(byteLength(spec)) };
  }
  write(handle: FakeBuffer, offset: number, bytes: Uint8Array): void {
    handle.bytes.set(bytes, offset);
  }
  async read(handle: FakeBuffer, offset: number, length: number): Promise<Uint8Array> {
    return handle.bytes.slice(offset, offset + length);
  }
  free(): void {
    this.freed++;
  }
  run(call: RunCall<FakeBuffer>): FakeBuffer[] {
    this.calls.push(call);
    const [a, b] = call.inputs.map((input) =>
      input ? new Float32Array(input.handle.bytes.buffer) : undefined,
    );
    const reused = call.inputs.find((input) => input?.donated)?.handle;
    const [spec] = call.outputs;
    if (!spec) return [];
    const target = reused ?? { bytes: new Uint8Array(byteLength(spec)) };
    const values = new Float32Array(target.bytes.buffer);
    for (let i = 0; i < values.length; i++) {
      values[i] = (a?.[i] ?? 0) + (b?.[i] ?? Number(call.attributes["scalar"]));
    }
    this.results.push(target);
    return [target];
  }
  async sync(): Promise<void> {}
  statistics() {
    return { liveBuffers: 0, liveBytes: 0, peakBytes: 0 };
  }
  dispose(): void {
    this.disposals++;
  }
  onFailure(listener: (failure: LateFailure<FakeBuffer>) => void): void {
    this.fail = listener;
  }
}

function fake(): { driver: FakeDriver; backend: Backend } {
  const driver = new FakeDriver();
  return { driver, backend: defineBackend(driver as unknown as Driver<FakeBuffer>) };
}

const values = async (tensor: Tensor): Promise<number[]> => [...(await tensor.read())];

describe("tensors", () => {
  it("hold what was uploaded, in every dtype", async () => {
    const backend = await create();
    expect(await values(backend.tensor([1, 2.5]))).toEqual([1, 2.5]);
    expect(await values(backend.tensor([true, false]))).toEqual([1, 0]);
    expect(await values(backend.tensor(new Float64Array([0.1])))).toEqual([0.1]);
    expect(await values(backend.tensor([-3, 4], { dtype: "i32" }))).toEqual([-3, 4]);
    expect(await backend.tensor(7, { dtype: "u32" }).item()).toBe(7);
    const half = backend.tensor(new Uint16Array([0x3c00]), { dtype: "f16" });
    expect(await values(half)).toEqual([0x3c00]);
  });

  it("refuse data that does not fit", async () => {
    const backend = await create();
    expect(() => backend.tensor([1, 2, 3], { shape: [2, 2] })).toThrow(ShapeError);
    expect(() => backend.tensor(new Uint16Array(2))).toThrow(DTypeError);
    expect(() => backend.tensor([0.5], { dtype: "i32" })).toThrow(DTypeError);
    expect(() => backend.tensor([-1], { dtype: "u32" })).toThrow(DTypeError);
    await expect(backend.tensor([1, 2]).item()).rejects.toThrow(ShapeError);
    const { backend: narrow } = fake();
    expect(() => narrow.tensor([1], { dtype: "f64" })).toThrow(UnsupportedError);
  });

  it("reshape without copying, and refuse other sizes", async () => {
    const backend = await create();
    const tensor = backend.tensor([1, 2, 3, 4, 5, 6], { shape: [2, 3] });
    const buffers = backend.statistics().liveBuffers;
    const view = tensor.reshape([3, -1]);
    expect(view.shape).toEqual([3, 2]);
    expect(backend.statistics().liveBuffers).toBe(buffers);
    tensor.dispose();
    expect(await values(view)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(() => view.reshape([4, 2])).toThrow(ShapeError);
    expect(() => view.reshape([-1, -1])).toThrow(ShapeError);
  });

  it("are filled piece by piece", async () => {
    const backend = await create();
    const upload = backend.upload({ shape: [2, 2], dtype: "f32" });
    upload.write(0, new Uint8Array(new Float32Array([1, 2]).buffer));
    upload.write(8, new Uint8Array(new Float32Array([3, 4]).buffer));
    expect(await values(upload.finish())).toEqual([1, 2, 3, 4]);
  });

  it("throw a named error after they are gone", async () => {
    const backend = await create();
    const tensor = backend.tensor([1]);
    tensor.dispose();
    tensor.dispose();
    expect(() => add(tensor, 1)).toThrow(UseAfterDisposeError);
    await expect(tensor.read()).rejects.toThrow(UseAfterDisposeError);
    await backend.dispose();
    await backend.dispose();
    expect(() => backend.tensor([1])).toThrow(UseAfterDisposeError);
  });
});

describe("scopes", () => {
  it("free everything but what is returned, nested ones too", async () => {
    const backend = await create();
    const x = backend.tensor([1, 2, 3]);
    const before = backend.statistics();
    const kept = backend.scope(() => {
      const inner = backend.scope(() => ({ deep: [mul(x, 2)], lost: [add(x, 1)].length }));
      return { result: add(inner.deep[0] as Tensor, 1), note: "text" };
    });
    expect(await values(kept.result)).toEqual([3, 5, 7]);
    expect(backend.statistics().liveTensors).toBe(before.liveTensors + 1);
    kept.result.dispose();
    expect(backend.statistics().liveBuffers).toBe(before.liveBuffers);
  });

  it("refuse promises and unfinished generators, and free what was made", async () => {
    const backend = await create();
    const x = backend.tensor([1]);
    const before = backend.statistics().liveTensors;
    expect(() => backend.scope(async () => add(x, 1))).toThrow(ConfigError);
    const generator = function* () {
      yield add(x, 1);
    };
    expect(() => backend.scope(() => generator())).toThrow(ConfigError);
    expect(() =>
      backend.scope(() => {
        add(x, 1);
        throw new RangeError("mine");
      }),
    ).toThrow("mine");
    expect(backend.statistics().liveTensors).toBe(before);
  });
});

describe("ops on a backend", () => {
  it("name what is missing", async () => {
    const { backend } = fake();
    const other = await create();
    const x = backend.tensor([1, 2]);
    expect(() => topK(x, undefined, { k: 1 })).toThrow(UnsupportedError);
    expect(() => topK(x, undefined, { k: 1 })).toThrow(/fake.*topK.*inference/);
    expect(() => add(x, other.tensor([1, 2]))).toThrow(/two backends/);
    expect(() => matmul(x, undefined as unknown as Tensor)).toThrow(ConfigError);
    expect(() => add("x" as unknown as Tensor, x)).toThrow(ConfigError);
  });

  it("record kernels and decompositions", async () => {
    const backend = await create();
    backend.scope(() => softmax(backend.tensor([[1, 2]].flat(), { shape: [1, 2] })));
    const record = backend.record();
    const how = backend.supports(softmax) ? "kernel" : "decomposed";
    expect(record["softmax"]?.[how]).toBe(1);
    backend.resetRecord();
    expect(backend.record()).toEqual({});
  });

  it("defined elsewhere run everywhere through their decomposition", async () => {
    const backend = await create();
    const double = defineOp<[x: Tensor]>({
      name: "acme/double",
      inputs: ["x"],
      infer: ([x]) => x,
      decompose: ([x]) => add(x, x),
    });
    expect(await values(double(backend.tensor([1, 2])))).toEqual([2, 4]);
    expect(backend.record()["acme/double"]).toEqual({ kernel: 0, decomposed: 1 });
  });

  it("never hand an input back as an output", async () => {
    const backend = await create();
    const same = defineOp<[x: Tensor]>({
      name: "acme/same",
      inputs: ["x"],
      infer: ([x]) => x,
      decompose: ([x]) => x,
    });
    const x = backend.tensor([1, 2]);
    same(x).dispose();
    stopGradient(x).dispose();
    x.reshape([2]).dispose();
    expect(await values(x)).toEqual([1, 2]);
  });

  it("key kernels by dtype and static attributes only", () => {
    const { driver, backend } = fake();
    const x = backend.tensor([1, 2]);
    add(x, 1);
    add(x, 2);
    mul(x, 2);
    const [first, second, third] = driver.calls.map((call) => call.key);
    expect(first).toBe(second);
    expect(first).not.toBe(third);
  });

  it("refuse a driver of another version", () => {
    const driver = Object.assign(new FakeDriver(), { specVersion: 2 });
    expect(() => defineBackend(driver as unknown as Driver<FakeBuffer>)).toThrow(UnsupportedError);
  });
});

describe("donation", () => {
  it("hands the buffer over when nothing else holds it", async () => {
    const { driver, backend } = fake();
    const x = backend.tensor([1, 2]);
    const y = add(donate(x), 1);
    expect(x.disposed).toBe(true);
    expect(() => add(x, 1)).toThrow(/donated/);
    expect(driver.calls[0]?.inputs[0]?.donated).toBe(true);
    expect(driver.freed).toBe(0);
    expect(await values(y)).toEqual([2, 3]);
    y.dispose();
    expect(driver.freed).toBe(1);
  });

  it("copies, and counts, when something else does", async () => {
    const { driver, backend } = fake();
    const x = backend.tensor([1, 2]);
    const view = x.reshape([2, 1]);
    const y = add(donate(x), 1);
    expect(driver.calls[0]?.inputs[0]?.donated).toBe(false);
    expect(backend.statistics().refusedDonations).toBe(1);
    expect(await values(view)).toEqual([1, 2]);
    expect(await values(y)).toEqual([2, 3]);
  });
});

describe("late failures", () => {
  it("reach everything that depends on the failed call, freed tensors in between too", async () => {
    const { driver, backend } = fake();
    const x = backend.tensor([1]);
    const clean = add(x, 1);
    const failed = add(x, 2);
    const dependent = add(failed, 1);
    failed.dispose();
    const further = add(dependent, clean);
    dependent.dispose();
    driver.fail({
      error: new UnsupportedError("no pipeline", "binary"),
      handles: [driver.results[1] as FakeBuffer],
    });
    const later = add(further, 1);
    await expect(further.read()).rejects.toThrow("no pipeline");
    await expect(later.read()).rejects.toThrow("no pipeline");
    expect(await values(clean)).toEqual([2]);
    await expect(backend.sync()).rejects.toThrow("no pipeline");
    await expect(backend.sync()).resolves.toBeUndefined();
  });

  it("reach every tensor when the device is lost", async () => {
    const { driver, backend } = fake();
    const x = backend.tensor([1]);
    driver.fail({ error: new DeviceLostError("gone"), handles: [] });
    await expect(x.read()).rejects.toThrow(DeviceLostError);
    await expect(backend.recover()).rejects.toThrow(UnsupportedError);
  });
});

describe("statistics", () => {
  it("return to where they were", async () => {
    const backend = await create();
    const before = backend.statistics();
    backend.scope(() => {
      const x = backend.tensor(new Float32Array(12), { shape: [3, 4] });
      sum(gelu(mul(x, 2)));
    });
    const { peakBytes: _peak, ...after } = backend.statistics();
    const { peakBytes: _before, ...expected } = before;
    expect(after).toEqual(expected);
  });
});
