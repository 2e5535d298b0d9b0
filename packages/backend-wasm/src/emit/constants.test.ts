import { describe, expect, it } from "vitest";
import { Bytes } from "./code.ts";
import { Constants } from "./constants.ts";
import { Module } from "./module.ts";
import { I32 } from "./scalars.ts";
import { F32x4, I32x4 } from "./vectors.ts";

const PAGES = { initialPages: 1, maximumPages: 1, shared: false };
const PLAIN = { fused: false, relaxedDot: false };

/** How often each of the bytes of a constant's instruction is in the code of a module. */
function countConstants(bytes: Uint8Array): number {
  let count = 0;
  for (let at = 0; at + 1 < bytes.length; at++) {
    if (bytes[at] === 0xfd && bytes[at + 1] === 0x0c) count++;
  }
  return count;
}

describe("vector constants", () => {
  it("are made once, where the function begins", () => {
    const module = new Module(PAGES, PLAIN);
    module.function(
      "sums",
      { parameters: ["i32"] },
      (body) => {
        const sum = body.let(F32x4.const(0));
        body.for(0, body.parameter(I32, 0), 1, () => {
          body.set(sum, sum.mul(F32x4.const(2)).add(F32x4.const(1.5)).add(F32x4.const(1.5)));
        });
        body.store(0, sum);
        // Other locals follow, which those of the constants must not take.
        const last = body.let(I32x4.const(7));
        body.store(16, last.add(I32x4.const(7)).xor(I32x4.const(-1)));
      },
      { exported: true },
    );
    const bytes = module.bytes();
    // 2, 1.5 and 7 once each; zeros and ones where they stand.
    expect(countConstants(bytes)).toBe(5);
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
      env: { memory },
    });
    (exports["sums"] as (rounds: number) => void)(3);
    expect([...new Float32Array(memory.buffer, 0, 4)]).toEqual([21, 21, 21, 21]);
    expect([...new Int32Array(memory.buffer, 16, 4)]).toEqual([-15, -15, -15, -15]);
  });

  it("that differ in one lane are different", () => {
    const module = new Module(PAGES, PLAIN);
    module.function(
      "lanes",
      { parameters: [] },
      (body) => {
        body.store(0, F32x4.const(1));
        body.store(16, F32x4.const(1).withLane(2, 5));
        body.store(32, F32x4.const(-0));
      },
      { exported: true },
    );
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
    const compiled = new WebAssembly.Module(module.bytes());
    const { exports } = new WebAssembly.Instance(compiled, { env: { memory } });
    (exports["lanes"] as () => void)();
    expect([...new Float32Array(memory.buffer, 0, 12)]).toEqual([
      1, 1, 1, 1, 1, 1, 5, 1, -0, -0, -0, -0,
    ]);
  });

  it("stand where they are without a replacement", () => {
    const bytes = new Bytes();
    bytes.put(I32x4.const(9).code);
    expect(countConstants(bytes.take())).toBe(1);
    expect(new Constants(3).count).toBe(0);
  });
});
