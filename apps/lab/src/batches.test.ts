import { ShapeError } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { trainingBatch } from "./batches.ts";
import type { Domain } from "./domain.ts";
import { streamKey } from "./random-choice.ts";
import { readWindows } from "./windows.ts";

/** Bytes of domain d count up from d, so a window shows where it came from. */
function domain(index: number, bytes: number): Domain {
  const content = Uint8Array.from({ length: bytes }, (_, place) => (place * 7 + index) % 251);
  return { name: `${index}`, title: `${index}`, training: content, heldOut: content.slice(0, 99) };
}

const domains = [domain(0, 1000), domain(1, 9), domain(2, 500)];
const shape = { rows: 16, length: 8 };

describe("trainingBatch", () => {
  it("depends on seed and step alone", () => {
    const key = streamKey(1, "batches");
    trainingBatch(domains, key, 3, shape);
    const batch = trainingBatch(domains, key, 4, shape);
    expect(trainingBatch(domains, streamKey(1, "batches"), 4, shape)).toEqual(batch);
    expect(trainingBatch(domains, key, 5, shape)).not.toEqual(batch);
    expect(trainingBatch(domains, streamKey(2, "batches"), 4, shape)).not.toEqual(batch);
    expect(trainingBatch(domains, streamKey(1, "heldOut"), 4, shape)).not.toEqual(batch);
  });

  it("gives each byte its successor as target", () => {
    const batch = trainingBatch(domains, streamKey(1, "batches"), 0, shape);
    expect(batch).toMatchObject({ rows: 16, length: 8 });
    for (let row = 0; row < 16; row += 1) {
      const inputs = batch.inputs.slice(row * 8, row * 8 + 8);
      const targets = batch.targets.slice(row * 8, row * 8 + 8);
      expect(inputs.slice(1)).toEqual(targets.slice(0, 7));
      const next = ((inputs[0] ?? 0) + 7) % 251;
      expect(targets[0]).toBe(next);
    }
  });

  it("draws domains and starts uniformly, the last start included", () => {
    const key = streamKey(7, "batches");
    const counts = [0, 0, 0];
    const starts = new Set<number>();
    for (let step = 0; step < 200; step += 1) {
      const batch = trainingBatch(
        [domains[0], domain(1, 12), domains[2]].filter(isDomain),
        key,
        step,
        {
          rows: 15,
          length: 8,
        },
      );
      for (const [row, index] of batch.domains.entries()) {
        counts[index] = (counts[index] ?? 0) + 1;
        if (index === 1) starts.add(((batch.inputs[row * 8] ?? 0) - 1) / 7);
      }
    }
    // 3000 draws of one in three: five standard deviations are 129.
    for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(129);
    expect([...starts].sort()).toEqual([0, 1, 2, 3]);
  });
});

function isDomain(value: Domain | undefined): value is Domain {
  return value !== undefined;
}

describe("readWindows", () => {
  it("refuses a window that leaves its text", () => {
    const read = (start: number): unknown =>
      readWindows(domains, "training", [{ domain: 1, start }], 8);
    expect(read(0)).toMatchObject({ rows: 1 });
    expect(() => read(1)).toThrow(ShapeError);
    expect(() => read(-1)).toThrow(ShapeError);
    expect(() => readWindows(domains, "training", [{ domain: 9, start: 0 }], 8)).toThrow(
      ShapeError,
    );
  });
});
