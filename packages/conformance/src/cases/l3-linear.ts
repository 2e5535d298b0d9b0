import {
  type Tensor,
  cast,
  dequantize,
  matmul,
  productFormats,
  roundBlocks,
  roundsActivations,
  storedFormat,
} from "@moiety/core";
import type { CaseContext, ConformanceCase, ProgramRun } from "../case.ts";
import { excusedFromInvariance } from "../excuse.ts";
import { GRADIENT_OPS, gradientsHold } from "./grad-support.ts";
import { extremeCases } from "./l3-linear-codes.ts";
import {
  at,
  holds,
  mapped,
  observed,
  pickRows,
  referenced,
  staysInRow,
  tilesOf,
} from "./l3-support.ts";
import {
  FLOATS,
  HALVES,
  type Holding,
  type LinearHosts,
  type LinearTensors,
  checkLinear,
  codesOf,
  linearCase,
  linearHosts,
  linearOf,
} from "./linear-support.ts";

/** One row, few rows as in decoding, and more than the usual tiles have. */
const ROWS = [1, 2, 3, 5, 8, 33] as const;
/** One column, odd counts, and more than the usual tiles have. */
const COLUMNS = [1, 7, 40] as const;

/** Products of rows and matrices of all the sizes that a holding takes. */
async function sizes(test: CaseContext, holding: Holding, rows: number): Promise<void> {
  for (const inner of holding.widths) {
    for (const columns of COLUMNS) {
      await checkLinear(test, holding, linearHosts(test, holding, [rows, inner], columns));
    }
  }
}

/** The product by the numbers that the weight stands for, and the rows that a format reads. */
function byNumbers(
  { x, weight, scales }: LinearTensors,
  holding: Holding,
  run: ProgramRun,
): Tensor {
  const { format, claim } = holding;
  const { float: dtype } = run;
  if (!format || !scales) {
    return matmul(x, claim ? cast(weight, { dtype }) : weight, { transposeB: true });
  }
  const stored = storedFormat(format);
  const shape = [weight.shape[0] ?? 0, x.shape.at(-1) ?? 0];
  const numbers = dequantize(weight, scales, { format: stored, shape, dtype });
  return matmul(roundsActivations(format) ? roundBlocks(x) : x, numbers, { transposeB: true });
}

/** The batches in which a row stands alone, with few others, backwards and in odd company. */
const BATCHES = [
  [0],
  [36],
  [5, 6],
  [0, 1, 2, 3, 4, 5, 6, 7],
  [36, 20, 3, 8, 1, 0, 2, 9, 7],
] as const;

/** A row has the bits alone that it has in a batch. */
async function sameInBatch(test: CaseContext, holding: Holding): Promise<void> {
  const hosts = linearHosts(test, holding, [37, 96], 41);
  const of = (given: LinearHosts): Promise<Record<string, LinearHosts["x"]>> =>
    observed(test, { ...given }, (tensors) => ({ y: linearOf(tensors, holding) }));
  const whole = at(await of(hosts), "y");
  const bounded = await referenced(test, { ...hosts }, (given) => ({
    y: linearOf(given, holding),
  }));
  test.within("the whole batch", whole, at(bounded, "y"));
  for (const batch of BATCHES) {
    const got = at(await of({ ...hosts, x: pickRows(hosts.x, batch) }), "y");
    test.same(`rows ${batch.join()}`, got.data, pickRows(whole, batch).data);
  }
}

/** NaN in a row, or in one number of it, makes that row NaN and no other. */
async function poisoned(test: CaseContext, holding: Holding): Promise<void> {
  for (const rows of [3, 33]) {
    const hosts = linearHosts(test, holding, [rows, 64], 17);
    const body = (given: LinearTensors): Record<string, Tensor> => ({
      y: linearOf(given, holding),
    });
    await staysInRow(test, { ...hosts }, "x", 1, body);
    const x = mapped(hosts.x, (value, index) => (index === 64 + 37 ? Number.NaN : value));
    await holds(test, { ...hosts, x }, body);
  }
}

/** Vectors, stacks of matrices, no rows and no columns. */
async function ranks(test: CaseContext, holding: Holding): Promise<void> {
  const [inner = 1] = holding.widths.filter((width) => width >= 32);
  for (const shape of [[inner], [2, 3, inner], [2, 1, 2, inner], [0, inner], [2, 0, inner]]) {
    await checkLinear(test, holding, linearHosts(test, holding, shape, 7));
  }
  await checkLinear(test, holding, linearHosts(test, holding, [3, inner], 0));
  await checkLinear(test, holding, linearHosts(test, holding, [3, 0], 4));
}

const casesOf = (holding: Holding): readonly ConformanceCase[] => [
  ...ROWS.map((rows) =>
    linearCase(
      holding,
      `rows-${rows}`,
      `${rows} rows through matrices held in ${holding.name} are products with their numbers`,
      (test) => sizes(test, holding, rows),
    ),
  ),
  linearCase(
    holding,
    "ranks",
    `a vector, a stack, no rows and no columns go through matrices held in ${holding.name}`,
    (test) => ranks(test, holding),
  ),
  linearCase(
    holding,
    "long",
    `long rows are added up in the accumulation that the manifest declares: ${holding.name}`,
    (test) => checkLinear(test, holding, linearHosts(test, holding, [3, 2080], 5)),
  ),
  linearCase(
    holding,
    "as-numbers",
    `linear with ${holding.name} gives what matmul with the numbers gives`,
    (test) =>
      holds(test, { ...linearHosts(test, holding, [9, 96], 33) }, (given, run) => ({
        held: linearOf(given, holding),
        numbers: byNumbers(given, holding, run),
      })),
  ),
  linearCase(
    holding,
    "nan-row",
    `NaN in one row stays in that row through ${holding.name}, and makes all of its outputs NaN`,
    (test) => poisoned(test, holding),
  ),
];

/** What further demands are made where a weight is held in fewer bits. */
const heldCasesOf = (holding: Holding): readonly ConformanceCase[] => [
  linearCase(
    holding,
    "batch-invariant",
    `a row's bits do not depend on its batch where the matrix is held in ${holding.name}`,
    (test) => sameInBatch(test, holding),
    {
      unsupported: (capabilities) =>
        holding.unsupported?.(capabilities) ?? excusedFromInvariance(capabilities),
    },
  ),
  linearCase(
    holding,
    "gradient",
    `${holding.name} does not train, but the gradient of linear flows through it to the rows`,
    (test) =>
      gradientsHold(test, { ...linearHosts(test, holding, [5, 64], 9) }, ["x"], (given) =>
        linearOf(given, holding),
      ),
    { ops: [...GRADIENT_OPS, ...holding.ops] },
  ),
];

const FORMATS: readonly Holding[] = productFormats.map(codesOf);

/** Cases of `linear` with weights in the dtype of activations. */
export const linearCases: readonly ConformanceCase[] = [
  ...casesOf(FLOATS),
  linearCase(
    FLOATS,
    "tiles",
    "sizes around the tiles of the manifest lose no row, column or term",
    async (test) => {
      for (const tile of tilesOf(test.capabilities)) {
        for (const size of [tile - 1, tile, tile + 1].filter((one) => one > 0)) {
          await checkLinear(test, FLOATS, linearHosts(test, FLOATS, [size, 5], 3));
          await checkLinear(test, FLOATS, linearHosts(test, FLOATS, [2, size], 3));
          await checkLinear(test, FLOATS, linearHosts(test, FLOATS, [2, 5], size));
        }
      }
    },
    {
      unsupported: (capabilities) =>
        tilesOf(capabilities).length === 0 ? "the manifest names no tileSizes" : undefined,
    },
  ),
  linearCase(
    FLOATS,
    "many",
    "more than 65 535 rows, or columns, are all computed",
    async (test) => {
      await checkLinear(test, FLOATS, linearHosts(test, FLOATS, [70_003, 2], 1));
      await checkLinear(test, FLOATS, linearHosts(test, FLOATS, [1, 2], 70_003));
    },
  ),
];

/** Cases of `linear` with weights that are held in fewer bits. */
export const heldLinearCases: readonly ConformanceCase[] = [
  ...[...HALVES, ...FORMATS].flatMap((holding) => [...casesOf(holding), ...heldCasesOf(holding)]),
  ...FORMATS.flatMap(extremeCases),
];
