import { logSumExp, softmax } from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { type HostTensor, generated, hostTensor } from "../host-tensor.ts";
import { SOFTMAX_OPS, distinctLogits, edited, levelCase, rowsOf, upTo } from "./l1-support.ts";

const WIDTHS = [1, 2, 7, 8, 31, 32, 33, 64, 128, 129, 288] as const;

function softmaxCase(
  id: string,
  demand: string,
  run: (test: CaseContext) => Promise<void>,
): ConformanceCase {
  return levelCase("L1", `softmax/${id}`, demand, SOFTMAX_OPS, run);
}

function logSumExpCase(
  id: string,
  demand: string,
  run: (test: CaseContext) => Promise<void>,
): ConformanceCase {
  return levelCase("L1", `log-sum-exp/${id}`, demand, SOFTMAX_OPS, run);
}

/** One input of each width. */
function widthInputs({ random }: CaseContext): Record<string, HostTensor> {
  return Object.fromEntries(WIDTHS.map((width) => [`x${width}`, random.normal([5, width], 3)]));
}

/** Rows whose sum overflows unless the maximum is subtracted first. */
const LARGE: HostTensor = hostTensor(
  [
    [1e4, 9999, 0, -1e4],
    [-1e4, -1e4, -9999, -1e4],
    [1e4, 1e4, 1e4, 1e4],
    [88, 89, 90, 91],
    [-200, -201, -202, -203],
  ].flat(),
  "f32",
  [5, 4],
);

const DOMINANT = 2;

const softmaxAlone: readonly ConformanceCase[] = [
  softmaxCase(
    "widths",
    "softmax gives e^x over its sum for rows of every width, those off every tile included",
    async (test) => {
      await test.compare(widthInputs(test), ({ inputs }) =>
        Object.fromEntries(Object.entries(inputs).map(([name, x]) => [name, softmax(x)])),
      );
    },
  ),
  softmaxCase(
    "ranks",
    "softmax works along the last axis of tensors of rank 1 to 4",
    async (test) => {
      const inputs = {
        vector: test.random.normal([9]),
        cube: test.random.normal([3, 4, 5]),
        four: test.random.normal([2, 3, 2, 7]),
      };
      await test.compare(inputs, ({ inputs: { vector, cube, four } }) => ({
        vector: softmax(vector),
        cube: softmax(cube),
        four: softmax(four),
      }));
    },
  ),
  softmaxCase("many-rows", "softmax treats every one of 2049 rows, the last too", async (test) => {
    await test.compare({ x: test.random.normal([2049, 8]) }, ({ inputs: { x } }) => ({
      y: softmax(x),
    }));
  }),
  softmaxCase(
    "empty",
    "softmax of no rows, or of rows without elements, is empty",
    async (test) => {
      const inputs = { none: hostTensor([], "f32", [0, 8]), bare: hostTensor([], "f32", [3, 0]) };
      await test.compare(inputs, ({ inputs: { none, bare } }) => ({
        none: softmax(none),
        bare: softmax(bare),
      }));
    },
  ),
  softmaxCase(
    "large-logits",
    "softmax subtracts the maximum first: logits of ±10⁴ neither overflow nor vanish together",
    async (test) => {
      await test.compare({ x: LARGE }, ({ inputs: { x } }) => ({ y: softmax(x) }));
    },
  ),
  softmaxCase(
    "one-dominates",
    "one logit far above the others takes the whole weight",
    async (test) => {
      const x = edited(
        test.random.normal([17, 33]),
        upTo(17).map((row) => [row * 33 + ((row * 7 + DOMINANT) % 33), 60]),
      );
      await test.compare({ x }, ({ inputs: { x } }) => ({ y: softmax(x) }));
    },
  ),
  softmaxCase(
    "equal-logits-equal-scores",
    "equal logits of a row get equal scores to the bit, wherever in the row they stand",
    async (test) => {
      const values = test.random.integers([9, 129], -6, 6);
      const x = generated([9, 129], "f32", (index) => (values.data[index] ?? 0) / 2);
      const { y } = await test.observe({ x }, ({ inputs: { x } }) => ({ y: softmax(x) }));
      for (const row of upTo(9)) {
        const seen = new Map<number, number>();
        for (const column of upTo(129)) {
          const at = row * 129 + column;
          const [logit, score] = [x.data[at] ?? 0, y.data[at] ?? 0];
          const before = seen.get(logit) ?? score;
          test.expect(before === score, `row ${row}: logit ${logit} scores ${before} and ${score}`);
          seen.set(logit, score);
        }
      }
    },
  ),
  softmaxCase(
    "nan-row",
    "a NaN makes its own row NaN, and changes no bit of another",
    async (test) => {
      const clean = distinctLogits(test.random, 17, 33);
      const x = edited(clean, [[5 * 33 + 7, Number.NaN]]);
      await test.compare({ x }, ({ inputs: { x } }) => ({ y: softmax(x) }));
      const run = async (x: HostTensor): Promise<HostTensor> =>
        (await test.observe({ x }, ({ inputs: { x } }) => ({ y: softmax(x) }))).y;
      const others = upTo(17).filter((row) => row !== 5);
      const [dirty, pure] = [await run(x), await run(clean)];
      test.same("the other rows", rowsOf(dirty, others).data, rowsOf(pure, others).data);
    },
  ),
];

const masked: readonly ConformanceCase[] = [
  softmaxCase(
    "masked",
    "softmax is 0 where the mask is false, and sums the others alone",
    async (test) => {
      const inputs = { x: test.random.normal([17, 33]), mask: test.random.bools([17, 33], 0.6) };
      await test.compare(inputs, ({ inputs: { x, mask } }) => ({ y: softmax(x, mask) }));
    },
  ),
  softmaxCase("masked-broadcast", "the mask of softmax broadcasts to x", async (test) => {
    const inputs = {
      x: test.random.normal([3, 5, 8]),
      row: test.random.bools([8], 0.7),
      column: test.random.bools([3, 1, 1], 0.5),
      square: test.random.bools([5, 8], 0.5),
    };
    await test.compare(inputs, ({ inputs: { x, row, column, square } }) => ({
      row: softmax(x, row),
      column: softmax(x, column),
      square: softmax(x, square),
    }));
  }),
  softmaxCase("masked-all", "a row without a true entry is all zeros", async (test) => {
    const inputs = {
      x: test.random.normal([3, 9]),
      mask: generated([3, 9], "bool", (index) => (Math.floor(index / 9) === 1 ? 0 : 1)),
    };
    await test.compare(inputs, ({ inputs: { x, mask } }) => ({ y: softmax(x, mask) }));
  }),
  softmaxCase(
    "masked-not-looked-at",
    "what the mask hides is not looked at, be it NaN or larger than all others",
    async (test) => {
      const mask = generated([4, 9], "bool", (index) => (index % 3 === 0 ? 0 : 1));
      const shown = test.random.normal([4, 9]);
      const hidden = [Number.NaN, 1e4, -1e4, Number.NaN];
      const x = generated([4, 9], "f32", (index) =>
        index % 3 === 0 ? (hidden[Math.floor(index / 9)] ?? 0) : (shown.data[index] ?? 0),
      );
      await test.compare({ x, mask }, ({ inputs: { x, mask } }) => ({ y: softmax(x, mask) }));
    },
  ),
];

const logSumExps: readonly ConformanceCase[] = [
  logSumExpCase("widths", "logSumExp is right for rows of every width", async (test) => {
    await test.compare(widthInputs(test), ({ inputs }) =>
      Object.fromEntries(Object.entries(inputs).map(([name, x]) => [name, logSumExp(x)])),
    );
  }),
  logSumExpCase("ranks", "logSumExp removes the last axis of any rank", async (test) => {
    const inputs = { vector: test.random.normal([9]), cube: test.random.normal([3, 4, 5]) };
    await test.compare(inputs, ({ inputs: { vector, cube } }) => ({
      vector: logSumExp(vector),
      cube: logSumExp(cube),
    }));
  }),
  logSumExpCase("large-logits", "logSumExp of logits of ±10⁴ does not overflow", async (test) => {
    await test.compare({ x: LARGE }, ({ inputs: { x } }) => ({ y: logSumExp(x) }));
  }),
  logSumExpCase("no-rows", "logSumExp of no rows is empty", async (test) => {
    const inputs = { x: hostTensor([], "f32", [0, 8]), bare: hostTensor([], "f32", [0, 0]) };
    await test.compare(inputs, ({ inputs: { x, bare } }) => ({
      x: logSumExp(x),
      bare: logSumExp(bare),
    }));
  }),
  logSumExpCase("nan-row", "a NaN makes its own row NaN and no other", async (test) => {
    const x = edited(test.random.normal([9, 33]), [[4 * 33 + 32, Number.NaN]]);
    await test.compare({ x }, ({ inputs: { x } }) => ({ y: logSumExp(x) }));
  }),
];

/** Softmax and logSumExp, fused or not. */
export const softmaxCases: readonly ConformanceCase[] = [...softmaxAlone, ...masked, ...logSumExps];
