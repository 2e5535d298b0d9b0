import { OutOfMemoryError, hostUniform, randomKey } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { type Growable, Heap, LINE, MARGIN, PAGE } from "./heap.ts";

const BEGIN = 1024;
const LIMIT = 64 * 2 ** 20;

interface Block {
  readonly start: number;
  readonly size: number;
}

/** A memory of numbers only; `most`: bytes beyond which it refuses to grow. */
function memory(most = Infinity): Growable & { byteLength: number; grown: number } {
  return {
    byteLength: 16 * PAGE,
    grown: 0,
    grow(bytes) {
      expect(bytes % PAGE).toBe(0);
      if (this.byteLength + bytes > most) throw new RangeError("refused");
      this.byteLength += bytes;
      this.grown++;
    },
  };
}

function assertApart(blocks: readonly Block[], end: number): void {
  let last = BEGIN;
  for (const { start, size } of [...blocks].sort((a, b) => a.start - b.start)) {
    expect(start).toBeGreaterThanOrEqual(last);
    expect([start % LINE, size % LINE]).toEqual([0, 0]);
    last = start + size;
  }
  expect(last).toBeLessThanOrEqual(end);
}

describe("the heap", () => {
  it.each([1, 2, 3])("gives out blocks that never overlap (seed %i)", (seed) => {
    const growable = memory();
    const heap = new Heap(growable, BEGIN, LIMIT);
    const random = hostUniform(randomKey(seed), 9000);
    const live: Block[] = [];
    for (let step = 0; step < 3000; step++) {
      const [what = 0, which = 0, how = 0] = random.slice(step * 3);
      if (what < 0.55 || live.length === 0) {
        const bytes = Math.floor(2 ** (which * 18)) - 1;
        const block = heap.take(bytes);
        expect(block.size).toBeGreaterThanOrEqual(bytes + MARGIN);
        live.push(block);
      } else {
        const [freed] = live.splice(Math.floor(how * live.length), 1);
        if (freed) heap.give(freed.start, freed.size);
      }
      if (step % 100 === 0) assertApart(live, growable.byteLength);
    }
    assertApart(live, growable.byteLength);
    for (const { start, size } of live) heap.give(start, size);
    // All is one block again: the whole memory can be had at once, without growing.
    const before = growable.byteLength;
    expect(heap.take(before - BEGIN - MARGIN)).toEqual({ start: BEGIN, size: before - BEGIN });
    expect(growable.byteLength).toBe(before);
  });

  it("stays bounded when the same sizes come and go in any order", () => {
    const growable = memory();
    const heap = new Heap(growable, BEGIN, LIMIT);
    const random = hostUniform(randomKey(9), 20_000);
    const sizes = Array.from({ length: 40 }, (_, i) => 1000 + i * 7919);
    const total = sizes.reduce((sum, size) => sum + size, 0);
    for (let round = 0; round < 400; round++) {
      const live = sizes.map((size) => heap.take(size));
      while (live.length > 0) {
        const at = Math.floor((random[round * 40 + live.length] ?? 0) * live.length);
        const [block] = live.splice(at, 1);
        if (block) heap.give(block.start, block.size);
      }
    }
    expect(growable.byteLength).toBeLessThan(2 * total);
  });

  it("uses a block that was freed, and the smallest that fits", () => {
    const heap = new Heap(memory(), BEGIN, LIMIT);
    const large = heap.take(10_000);
    heap.take(1);
    const small = heap.take(5000);
    heap.take(1);
    heap.give(large.start, large.size);
    heap.give(small.start, small.size);
    expect(heap.take(4990).start).toBe(small.start);
    expect(heap.take(9999).start).toBe(large.start);
  });

  it("grows at its end, onto what is free there", () => {
    const growable = memory();
    const heap = new Heap(growable, BEGIN, LIMIT);
    const first = heap.take(growable.byteLength);
    expect(first.start).toBe(BEGIN);
    expect(growable.grown).toBe(1);
    const second = heap.take(20 * PAGE);
    expect(second.start).toBe(first.start + first.size);
  });

  it("names what has no room in a memory of 32-bit addresses", () => {
    const growable = memory();
    const heap = new Heap(growable, BEGIN, LIMIT);
    for (const bytes of [LIMIT, LIMIT - BEGIN, 2 ** 32, 2 ** 45]) {
      expect(() => heap.take(bytes)).toThrow(OutOfMemoryError);
      expect(() => heap.take(bytes)).toThrow(/holds 67108864 bytes/);
    }
    expect(growable.grown).toBe(0);
    // Up to the last byte there is room.
    const { start, size } = heap.take(LIMIT - BEGIN - MARGIN);
    expect(start + size).toBe(LIMIT);
    expect(() => heap.take(0)).toThrow(OutOfMemoryError);
    heap.give(start, size);
    heap.take(100);
  });

  it("names what the engine refuses, and goes on", () => {
    const growable = memory(20 * PAGE);
    const heap = new Heap(growable, BEGIN, LIMIT);
    expect(() => heap.take(30 * PAGE)).toThrow(OutOfMemoryError);
    expect(() => heap.take(30 * PAGE)).toThrow(/the engine refuses more memory/);
    expect(growable.byteLength).toBe(16 * PAGE);
    // It asks for less where more than is needed is refused.
    const { size } = heap.take(19 * PAGE);
    expect(size).toBeGreaterThan(19 * PAGE);
    expect(growable.byteLength).toBe(20 * PAGE);
  });
});
