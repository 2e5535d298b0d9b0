import { array, assert, integer, nat, property } from "fast-check";
import { describe, expect, it } from "vitest";
import type { Domain } from "./domain.ts";
import { heldOutBatches, heldOutWindows, partOfWindows } from "./held-out.ts";
import { streamKey } from "./random-choice.ts";

function domain(bytes: number): Domain {
  return {
    name: `${bytes}`,
    title: `${bytes}`,
    training: new Uint8Array(0),
    heldOut: Uint8Array.from({ length: bytes }, (_, index) => index % 256),
  };
}

describe("heldOutWindows", () => {
  it("takes equally many from each domain, none overlapping, all within the text", () => {
    assert(
      property(
        array(integer({ min: 17, max: 400 }), { minLength: 1, maxLength: 5 }),
        integer({ min: 1, max: 60 }),
        nat(1000),
        (sizes, wanted, seed) => {
          const domains = sizes.map(domain);
          const windows = heldOutWindows(domains, streamKey(seed, "heldOut"), wanted, 8);
          const room = Math.min(...sizes.map((size) => Math.floor((size - 1) / 8)));
          const each = Math.min(Math.ceil(wanted / sizes.length), room);
          for (const [index, size] of sizes.entries()) {
            const starts = windows.filter((window) => window.domain === index).map((w) => w.start);
            expect(starts).toHaveLength(each);
            for (const [place, start] of starts.entries()) {
              expect(start + 8).toBeLessThan(size);
              expect(start).toBeGreaterThanOrEqual(place === 0 ? 0 : (starts[place - 1] ?? 0) + 8);
            }
          }
        },
      ),
    );
  });

  it("is fixed by the seed", () => {
    const domains = [domain(4000), domain(5000)];
    const windows = heldOutWindows(domains, streamKey(1, "heldOut"), 20, 16);
    expect(heldOutWindows(domains, streamKey(1, "heldOut"), 20, 16)).toEqual(windows);
    expect(heldOutWindows(domains, streamKey(2, "heldOut"), 20, 16)).not.toEqual(windows);
  });

  it("gives the same windows whatever other domains there are behind", () => {
    const key = streamKey(1, "heldOut");
    const alone = heldOutWindows([domain(4000)], key, 10, 16);
    const together = heldOutWindows([domain(4000), domain(900)], key, 20, 16);
    expect(together.slice(0, 10)).toEqual(alone);
  });
});

describe("parts and batches", () => {
  const domains = [domain(4000), domain(5000), domain(6000)];
  const windows = heldOutWindows(domains, streamKey(1, "heldOut"), 30, 16);

  it("takes the same part of every domain", () => {
    const part = partOfWindows(windows, 0.25);
    expect(part.map((window) => window.domain)).toEqual([0, 0, 0, 1, 1, 1, 2, 2, 2]);
    expect(part[3]).toEqual(windows[10]);
    expect(partOfWindows(windows, 1)).toEqual(windows);
  });

  it("fills batches domain by domain, in the windows' order", () => {
    const batches = heldOutBatches(domains, windows, 4, 16);
    expect(batches.map(({ rows }) => rows)).toEqual([4, 4, 2, 4, 4, 2, 4, 4, 2]);
    for (const batch of batches) expect(new Set(batch.domains).size).toBe(1);
    const firsts = batches.flatMap(({ inputs, rows }) =>
      Array.from({ length: rows }, (_, row) => inputs[row * 16]),
    );
    expect(firsts).toEqual(windows.map(({ start }) => start % 256));
  });
});
