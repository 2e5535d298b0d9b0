import { DeviceLostError, OutOfMemoryError, UseAfterDisposeError } from "@moiety/core";
import { afterEach, describe, expect, it, vi } from "vitest";
import { PAGE } from "./heap.ts";
import { CONTROL_BYTES } from "./library.ts";
import { type WasmBuffer, Memory } from "./memory.ts";

afterEach(() => vi.restoreAllMocks());

/** Derives and counts how often it had to. */
function deriver(memory: Memory): {
  derive(buffer: WasmBuffer, name?: string, bytes?: number): WasmBuffer;
  readonly fills: number;
} {
  let fills = 0;
  return {
    derive: (buffer, name = "packed", bytes = 1000) =>
      memory.derive(buffer, name, bytes, (address) => {
        fills++;
        memory.bytes.fill(7, address, address + bytes);
      }),
    get fills() {
      return fills;
    },
  };
}

/** Lets the engine refuse memories with such limits. */
function refuseMemories(refused: (limits: { readonly maximum: number }) => boolean): void {
  const real = WebAssembly.Memory;
  const make = function (limits: { readonly initial: number; readonly maximum: number }): object {
    if (refused(limits)) throw new RangeError("could not allocate memory");
    return new real(limits);
  };
  vi.spyOn(WebAssembly, "Memory").mockImplementation(make as () => WebAssembly.Memory);
}

describe("memory", () => {
  it("holds buffers behind the control block, and counts them", () => {
    const memory = new Memory(0, false, Infinity);
    const [a, b] = [memory.allocate(100), memory.allocate(0)];
    expect(a.address).toBeGreaterThanOrEqual(CONTROL_BYTES);
    expect([a.address % 64, b.address % 64]).toEqual([0, 0]);
    expect(memory.statistics()).toEqual({ liveBuffers: 2, liveBytes: 100, peakBytes: 100 });
    memory.free(a);
    memory.free(b);
    expect(memory.statistics()).toEqual({ liveBuffers: 0, liveBytes: 0, peakBytes: 100 });
  });

  it.each([false, true])("moves its views when it grows (shared: %s)", (shared) => {
    const memory = new Memory(0, shared, Infinity);
    const before = memory.allocate(8);
    memory.bytes.fill(5, before.address, before.address + 8);
    const large = memory.allocate(40 * 2 ** 20);
    expect(memory.bytes.byteLength).toBeGreaterThan(40 * 2 ** 20);
    expect(memory.bytes[before.address]).toBe(5);
    memory.view.setUint8(large.address + large.byteLength - 1, 3);
    expect(memory.bytes[large.address + large.byteLength - 1]).toBe(3);
  });

  it("uses memory again, so that it stays bounded", () => {
    const memory = new Memory(0, false, Infinity);
    for (let round = 0; round < 1000; round++) {
      const buffers = [1, 2, 3].map((part) => memory.allocate(part * 100_000 + round * 64));
      for (const buffer of buffers) memory.free(buffer);
    }
    expect(memory.bytes.byteLength).toBeLessThanOrEqual(20 * 2 ** 20);
  });

  it("refuses what is not alive", () => {
    const memory = new Memory(3, false, Infinity);
    const buffer = memory.allocate(8);
    memory.assertLive(buffer);
    memory.free(buffer);
    expect(() => memory.assertLive(buffer)).toThrow(UseAfterDisposeError);
    expect(() => memory.free(buffer)).toThrow(UseAfterDisposeError);
    const old = new Memory(2, false, Infinity).allocate(8);
    expect(() => memory.assertLive(old)).toThrow(DeviceLostError);
    memory.free(old);
    expect(memory.statistics().liveBuffers).toBe(0);
  });

  it("keeps to a limit of live bytes", () => {
    const memory = new Memory(0, false, 1000);
    const buffer = memory.allocate(600);
    expect(() => memory.allocate(401)).toThrow(OutOfMemoryError);
    expect(() => memory.allocate(401)).toThrow(/600 of 1000 are in use; dispose tensors/);
    memory.allocate(400);
    memory.free(buffer);
    memory.allocate(600);
    expect(memory.statistics()).toEqual({ liveBuffers: 2, liveBytes: 1000, peakBytes: 1000 });
  });

  it("names what is over 4 GiB, without asking the engine", () => {
    const memory = new Memory(0, false, Infinity);
    const before = memory.bytes.byteLength;
    expect(() => memory.allocate(2 ** 32)).toThrow(OutOfMemoryError);
    expect(() => memory.allocate(2 ** 32)).toThrow(/a WebAssembly memory holds \d+ bytes/);
    expect(memory.statistics().liveBytes).toBe(0);
    expect(memory.bytes.byteLength).toBe(before);
  });

  it("names what the engine refuses", () => {
    const memory = new Memory(0, false, Infinity);
    vi.spyOn(memory.memory, "grow").mockImplementation(() => {
      throw new RangeError("WebAssembly.Memory.grow(): Unable to grow instance memory");
    });
    expect(() => memory.allocate(100 * 2 ** 20)).toThrow(/the engine refuses more memory/);
    memory.allocate(1000);
  });

  it("makes do with fewer addresses where the engine does not set aside all", () => {
    const most = 20_000;
    refuseMemories(({ maximum }) => maximum > most);
    const memory = new Memory(0, false, Infinity);
    expect(memory.limitBytes).toBe(16_384 * PAGE);
    expect(() => memory.allocate(2 ** 30)).toThrow(/holds 1073741824 bytes here/);
  });

  it("says so where there is no memory at all", () => {
    refuseMemories(() => true);
    expect(() => new Memory(0, false, Infinity)).toThrow(OutOfMemoryError);
  });
});

describe("derived buffers", () => {
  it("are made once for each name, and do not count as live", () => {
    const memory = new Memory(0, false, Infinity);
    const made = deriver(memory);
    const source = memory.allocate(64);
    const first = made.derive(source);
    expect(made.derive(source)).toBe(first);
    expect(made.derive(source, "other")).not.toBe(first);
    expect(made.fills).toBe(2);
    expect(memory.bytes[first.address + 999]).toBe(7);
    expect(memory.statistics()).toEqual({ liveBuffers: 1, liveBytes: 64, peakBytes: 64 });
  });

  it("are dropped when their source is written or freed, and their place is used again", () => {
    const memory = new Memory(0, false, Infinity);
    const made = deriver(memory);
    const source = memory.allocate(64);
    const { address } = made.derive(source, "packed", 5000);
    memory.forget(source);
    expect(made.derive(source, "packed", 5000).address).toBe(address);
    expect(made.fills).toBe(2);
    memory.free(source);
    expect(memory.allocate(5000).address).toBeLessThanOrEqual(address);
  });

  it("give way when memory runs out, the longest unused first, but not to the call that uses them", () => {
    const memory = new Memory(0, false, Infinity);
    const grow = vi.spyOn(memory.memory, "grow").mockImplementation(() => {
      throw new RangeError("no more");
    });
    const made = deriver(memory);
    const megabyte = 2 ** 20;
    const sources = [0, 1, 2, 3].map(() => memory.allocate(64));
    const [a, b, c, d] = sources as [WasmBuffer, WasmBuffer, WasmBuffer, WasmBuffer];
    for (const source of [a, b, c]) made.derive(source, "packed", 4 * megabyte);
    made.derive(a, "packed", 4 * megabyte);
    memory.endCall();
    made.derive(c, "packed", 4 * megabyte);
    expect(made.fills).toBe(3);
    // 16 MiB in all: the fourth needs a place, and b was used longest ago.
    made.derive(d, "packed", 4 * megabyte);
    expect([a, b, c, d].map((source) => source.derived.size)).toEqual([1, 0, 1, 1]);
    // Only a is free to go now: c and d are used by this call.
    expect(() => memory.allocate(12 * megabyte)).toThrow(OutOfMemoryError);
    expect([a, b, c, d].map((source) => source.derived.size)).toEqual([0, 0, 1, 1]);
    memory.endCall();
    memory.allocate(12 * megabyte);
    expect([c, d].map((source) => source.derived.size)).toEqual([0, 0]);
    expect(grow).toHaveBeenCalled();
  });

  it("leave nothing behind when they cannot be made", () => {
    const memory = new Memory(0, false, Infinity);
    const source = memory.allocate(64);
    const free = memory.allocate(5000);
    memory.free(free);
    const fails = (): unknown =>
      memory.derive(source, "packed", 5000, () => {
        throw new DeviceLostError("lost");
      });
    expect(fails).toThrow(DeviceLostError);
    expect(source.derived.size).toBe(0);
    expect(memory.allocate(5000).address).toBe(free.address);
    expect(() => memory.derive(source, "packed", 2 ** 33, () => undefined)).toThrow(
      OutOfMemoryError,
    );
  });
});

describe("the scratch of a call", () => {
  it("is apart from buffers, ends somewhere, and is there again for the next call", () => {
    const memory = new Memory(0, false, Infinity);
    const buffer = memory.allocate(64);
    const places: number[] = [];
    for (;;) {
      const place = memory.scratch(10_000);
      if (place === undefined) break;
      places.push(place);
    }
    expect(places.length).toBeGreaterThan(10);
    expect(places[0]).toBeGreaterThanOrEqual(CONTROL_BYTES);
    for (const [index, place] of places.entries()) {
      expect(place % 64).toBe(0);
      // With the bytes that kernels may overwrite behind.
      expect(place + 10_064).toBeLessThanOrEqual(places[index + 1] ?? buffer.address);
    }
    memory.endCall();
    expect(memory.scratch(10_000)).toBe(places[0]);
    expect(memory.statistics().liveBytes).toBe(64);
  });

  it("is another one after a call whose last launch may still run", () => {
    const memory = new Memory(0, false, Infinity);
    const buffer = memory.allocate(64);
    const place = (holds: boolean): number => {
      const address = memory.scratch(100_000) ?? 0;
      if (holds) memory.hold();
      memory.endCall();
      return address;
    };
    const first = place(true);
    const other = place(false);
    expect(Math.abs(other - first)).toBeGreaterThan(100_000);
    expect(other + 100_000).toBeLessThan(buffer.address);
    // Nothing was launched from there.
    expect(place(true)).toBe(other);
    expect(place(true)).toBe(first);
  });
});
