import { FormatError } from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bytesSource } from "../source.ts";
import { safetensorsBytes, safetensorsDtypes } from "./dtype.ts";
import { openSafetensors } from "./read.ts";
import { type TensorEntry, copyEntries, encodeSafetensors } from "./write.ts";

const tensors = fc.uniqueArray(
  fc.record({
    name: fc.oneof(
      fc.string({ unit: "binary", maxLength: 8 }),
      fc.constantFrom("__proto__", "w.0"),
    ),
    dtype: fc.constantFrom(...safetensorsDtypes()),
    shape: fc.array(fc.nat({ max: 3 }), { maxLength: 3 }),
    first: fc.nat({ max: 255 }),
  }),
  { selector: ({ name }) => name, maxLength: 5 },
);
const metadata = fc.option(fc.dictionary(fc.string(), fc.string(), { maxKeys: 2 }), {
  nil: undefined,
});

/** Whole files with their entries. */
const files = fc.record({ tensors, metadata }).map(({ tensors: list, metadata: texts }) => ({
  metadata: texts,
  entries: list.map(({ first, ...tensor }): TensorEntry => {
    const elements = tensor.shape.reduce((product, dimension) => product * dimension, 1);
    const length = elements * safetensorsBytes(tensor.dtype);
    const bytes = Uint8Array.from({ length }, (_, index) => first + index);
    return { ...tensor, bytes: () => bytes };
  }),
}));

describe("any file", () => {
  it("comes back with the same tensors, and is written again to the same bytes", async () => {
    await fc.assert(
      fc.asyncProperty(files, async (content) => {
        const bytes = await encodeSafetensors(content.entries, content.metadata);
        const file = await openSafetensors(bytesSource(bytes));
        expect({ ...file.metadata }).toEqual({ ...content.metadata });
        expect(file.tensors.size).toBe(content.entries.length);
        for (const { name, dtype, shape, bytes: expected } of content.entries) {
          expect(await file.read(name)).toEqual({ name, dtype, shape, bytes: await expected() });
          if (shape.length === 0) continue;
          const [rows = 0] = shape;
          const parts: number[] = [];
          for (let row = 0; row < rows; row++) {
            parts.push(...(await file.readRows(name, row, row + 1)).bytes);
          }
          expect(parts).toEqual([...(await expected())]);
        }
        expect(await encodeSafetensors(copyEntries(file).reverse(), file.metadata)).toEqual(bytes);
      }),
      { seed: 8 },
    );
  });

  it("cut short anywhere is refused", async () => {
    await fc.assert(
      fc.asyncProperty(files, fc.double({ min: 0, max: 1, noNaN: true }), async (content, part) => {
        const bytes = await encodeSafetensors(content.entries, content.metadata);
        const cut = bytes.subarray(0, Math.floor((bytes.length - 1) * part));
        const failure = await openSafetensors(bytesSource(cut)).catch((error: unknown) => error);
        expect(failure).toBeInstanceOf(FormatError);
      }),
      { seed: 9, numRuns: 300 },
    );
  });

  it("with any byte of its header changed is refused, or still covers the same bytes", async () => {
    const place = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });
    await fc.assert(
      fc.asyncProperty(
        files,
        place,
        fc.integer({ min: 1, max: 255 }),
        async (content, at, flip) => {
          const bytes = await encodeSafetensors(content.entries, content.metadata);
          const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
          const damaged = bytes.slice();
          const position = Math.floor((8 + length) * at);
          damaged[position] = (damaged[position] ?? 0) ^ flip;
          const before = await openSafetensors(bytesSource(bytes));
          const after = await openSafetensors(bytesSource(damaged)).catch(
            (error: unknown) => error,
          );
          if (after instanceof FormatError) {
            expect(after.offset).toBeGreaterThanOrEqual(0);
            expect(after.offset).toBeLessThanOrEqual(damaged.length);
            return;
          }
          // A changed letter in a name, a dtype of the same width or a dimension beside a zero cannot
          // be told from a file that was meant so. The bytes of the tensors are the same all the same.
          const { tensors: found } = after as typeof before;
          const ranges = (all: typeof found): [number, number][] =>
            [...all.values()].map(({ offset, byteLength }) => [offset, byteLength]);
          const changed = [...found.values()].filter((info) => {
            const old = before.tensors.get(info.name);
            return JSON.stringify(old) !== JSON.stringify(info);
          });
          expect(changed.length).toBeLessThanOrEqual(1);
          expect(ranges(found)).toEqual(ranges(before.tensors));
        },
      ),
      { seed: 10, numRuns: 1000 },
    );
  });

  it("of nothing but noise behind a plausible length is refused", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 64 }), async (noise) => {
        const file = new Uint8Array(8 + noise.length);
        file[0] = noise.length;
        file.set(noise, 8);
        await expect(openSafetensors(bytesSource(file))).rejects.toThrow(FormatError);
      }),
      { seed: 11, numRuns: 500 },
    );
  });
});
