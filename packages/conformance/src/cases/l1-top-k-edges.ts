import { topK } from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { type HostTensor, generated, hostTensor } from "../host-tensor.ts";
import { distinctLogits, edited, rowsOf, upTo } from "./l1-support.ts";
import { forEachK, topKCase } from "./l1-top-k.ts";

/** A case in which values of a few scales stand in random order. */
function closeCase(
  id: string,
  demand: string,
  values: readonly number[],
  k: number = values.length,
): ConformanceCase {
  return topKCase(id, demand, async (test) => {
    const scores = shuffled(test, values, 9);
    await test.compare({ scores }, ({ inputs: { scores } }) => forEachK(scores, [k]));
  });
}

/** The values in random order, once in each row. */
function shuffled({ random }: CaseContext, values: readonly number[], rows: number): HostTensor {
  const order = upTo(rows).flatMap(() => [...random.permutation(values.length).data]);
  return hostTensor(
    order.map((index) => values[index] ?? 0),
    "f32",
    [rows, values.length],
  );
}

const close: readonly ConformanceCase[] = [
  closeCase(
    "equal-after-f16",
    "scores that f16 would make equal are told apart: selection is in f32 at least",
    upTo(16).map((step) => 1 + step * 2 ** -13),
    4,
  ),
  closeCase(
    "one-ulp-apart",
    "scores one unit in the last place apart are told apart",
    upTo(16).map((step) => 1 + step * 2 ** -23),
    4,
  ),
  closeCase(
    "difference-is-subnormal",
    "normal scores whose difference is subnormal are told apart: order is no subtraction",
    upTo(8).map((step) => 2 ** -126 * (1 + step * 2 ** -23)),
    3,
  ),
  closeCase(
    "extremes",
    "scores of ±10⁴ and of the ends of the range are ordered like any others",
    [3.4e38, -3.4e38, 1e4, -1e4, 2 ** -126, -(2 ** -126), 0, 1, -1, 9999, -9999],
    11,
  ),
];

const zeros: readonly ConformanceCase[] = [
  topKCase("minus-zero", "−0 equals 0: they tie, and the lower index comes first", async (test) => {
    const rows = [
      [-0, 0, -0, 0],
      [0, -0, 0, -0],
      [-1, -0, 0, -1],
      [0, -0, 1, -1],
    ];
    const scores = hostTensor(rows.flat(), "f32", [4, 4]);
    await test.compare({ scores }, ({ inputs: { scores } }) => {
      const [, indices] = topK(scores, undefined, { k: 3 });
      return { indices };
    });
  }),
  topKCase(
    "subnormals",
    "subnormal scores are ordered as they are, or all of a row as zeros",
    async (test) => {
      const values = [1, 2 ** -140, 0, -(2 ** -140), 2 ** -130, -1, 2 ** -149, -(2 ** -130)];
      const scores = shuffled(test, values, 9);
      const { indices } = await test.observe({ scores }, ({ inputs: { scores } }) => {
        const [, indices] = topK(scores, undefined, { k: 8 });
        return { indices };
      });
      for (const row of upTo(9)) {
        const own = [...rowsOf(scores, [row]).data];
        const got = [...rowsOf(indices, [row]).data].join();
        const flushed = own.map((value) => (Math.abs(value) < 2 ** -126 ? 0 : value));
        const allowed = [own, flushed].map((list) => ranking(list).join());
        test.expect(
          allowed.includes(got),
          `row ${row}: [${got}] instead of [${allowed[0]}] or, flushed, [${allowed[1]}]`,
        );
      }
    },
  ),
];

/** Indices by (value descending, index ascending). */
function ranking(values: readonly number[]): number[] {
  return upTo(values.length).sort((a, b) => (values[b] ?? 0) - (values[a] ?? 0) || a - b);
}

const nans: readonly ConformanceCase[] = [
  topKCase("nan-below-all", "NaN ranks below every number", async (test) => {
    const scores = edited(
      distinctLogits(test.random, 9, 12),
      upTo(9).map((row) => [row * 12 + ((row * 5) % 12), Number.NaN]),
    );
    await test.compare({ scores }, ({ inputs: { scores } }) => forEachK(scores, [3, 11, 12]));
  }),
  topKCase("nan-below-lowest", "NaN ranks below the lowest number that there is", async (test) => {
    const lowest = -3.4028234663852886e38;
    const scores = generated([3, 5], "f32", (index) =>
      index % 5 === index % 3 ? Number.NaN : lowest,
    );
    await test.compare({ scores }, ({ inputs: { scores } }) => forEachK(scores, [5]));
  }),
  topKCase(
    "nan-several",
    "several NaN of a row come in the order of their indices",
    async (test) => {
      const scores = edited(
        distinctLogits(test.random, 5, 12),
        upTo(5).flatMap((row) =>
          upTo(row + 2).map((step) => [row * 12 + ((row + 3 * step) % 12), Number.NaN] as const),
        ),
      );
      await test.compare({ scores }, ({ inputs: { scores } }) => forEachK(scores, [12]));
    },
  ),
  topKCase(
    "nan-of-any-bits",
    "NaN of every sign and payload ranks below every number",
    async (test) => {
      const patterns = [0x7fc00000, 0xffc00000, 0x7f800001, 0xff800001, 0x7fffffff, 0xffffffff];
      const bits = new Uint32Array([...patterns, 0x3f800000, 0xbf800000]);
      const scores: HostTensor = { data: new Float32Array(bits.buffer), shape: [8], dtype: "f32" };
      const { indices } = await test.observe({ scores }, ({ inputs: { scores } }) => {
        const [, indices] = topK(scores, undefined, { k: 8 });
        return { indices };
      });
      test.same("indices", indices.data, new Int32Array([6, 7, 0, 1, 2, 3, 4, 5]));
    },
  ),
  topKCase("nan-no-bleed", "a NaN changes no bit of the other rows", async (test) => {
    const clean = distinctLogits(test.random, 17, 33);
    const run = async (scores: HostTensor): Promise<Record<"values" | "indices", HostTensor>> =>
      test.observe({ scores }, ({ inputs: { scores } }) => {
        const [values, indices] = topK(scores, undefined, { k: 4 });
        return { values, indices };
      });
    const [pure, dirty] = [await run(clean), await run(edited(clean, [[8 * 33 + 1, Number.NaN]]))];
    const others = upTo(17).filter((row) => row !== 8);
    for (const name of ["values", "indices"] as const) {
      test.same(name, rowsOf(dirty[name], others).data, rowsOf(pure[name], others).data);
    }
  }),
];

/** topK at the edges of the floats. */
export const topKEdgeCases: readonly ConformanceCase[] = [...close, ...zeros, ...nans];
