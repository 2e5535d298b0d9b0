import { describe, expect, it } from "vitest";
import type { Block } from "../../memory.ts";
import { GpuHandle } from "../../memory.ts";
import { runsOf, viewOf, windowsOf } from "./windows.ts";

/** A tensor of which nothing but its layout is looked at. */
function tensorOf(bytes: number, segmentBytes = 256): GpuHandle {
  const count = Math.max(1, Math.ceil(bytes / segmentBytes));
  const blocks = Array.from({ length: count }, (_, id) => ({ id }) as Block);
  return new GpuHandle(bytes, blocks, segmentBytes, 0);
}

describe("windowsOf", () => {
  it("is one window where every tensor is whole", () => {
    const tensors = [{ handle: tensorOf(40), bytes: 4 }];
    expect(windowsOf(10, tensors)).toEqual([
      { start: 0, count: 10, segments: [undefined], bases: [0] },
    ]);
    expect(windowsOf(0, tensors)).toEqual([]);
  });

  it("cuts at the segments of the larger elements", () => {
    const tensors = [
      { handle: tensorOf(800), bytes: 4 },
      { handle: tensorOf(400), bytes: 2 },
      { handle: tensorOf(200), bytes: 1 },
    ];
    expect(windowsOf(200, tensors)).toEqual([
      { start: 0, count: 64, segments: [0, 0, undefined], bases: [0, 0, 0] },
      { start: 64, count: 64, segments: [1, 0, undefined], bases: [0, 64, 64] },
      { start: 128, count: 64, segments: [2, 1, undefined], bases: [0, 0, 128] },
      { start: 192, count: 8, segments: [3, 1, undefined], bases: [0, 64, 192] },
    ]);
  });
});

describe("viewOf", () => {
  it("holds the segments of a range", () => {
    const { handle, start } = viewOf(tensorOf(1000), 70, 130);
    expect(start).toBe(64);
    expect(handle.blocks.map(({ id }) => id)).toEqual([1, 2]);
    expect(handle.byteLength).toBe(512);
    expect(viewOf(tensorOf(1000), 200, 250).handle.byteLength).toBe(1000 - 768);
  });

  it("stays inside the tensor", () => {
    expect(viewOf(tensorOf(1000), 300, 400).handle.blocks.map(({ id }) => id)).toEqual([3]);
    expect(viewOf(tensorOf(1000), 0, 9999).handle.blocks.length).toBe(4);
  });
});

describe("runsOf", () => {
  const rows = (size: number) => (row: number) => [row * size, (row + 1) * size] as const;

  it("is one run where the segments fit", () => {
    expect(runsOf(5, rows(50), tensorOf(1000), 4)).toEqual([
      { first: 0, count: 5, start: 0, end: 250 },
    ]);
  });

  it("takes as many pieces as lie in the segments that fit", () => {
    expect(runsOf(8, rows(30), tensorOf(960), 2)).toEqual([
      { first: 0, count: 4, start: 0, end: 120 },
      { first: 4, count: 2, start: 120, end: 180 },
      { first: 6, count: 2, start: 180, end: 240 },
    ]);
  });

  it("takes one piece at least", () => {
    expect(runsOf(2, rows(200), tensorOf(1600), 2).map(({ count }) => count)).toEqual([1, 1]);
  });
});
