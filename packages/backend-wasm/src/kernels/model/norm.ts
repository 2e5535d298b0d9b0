import { F32, I32 } from "../../emit/scalars.ts";
import { F32x4 } from "../../emit/vectors.ts";
import type { Kernel, KernelCall } from "../../kernel.ts";
import { type Routine, defineRoutine } from "../../routine.ts";
import { wordAt } from "../reduction/lanes.ts";
import { eachRow, eachVector, rowSum, rowsPerTask, splat, storeFirst } from "./rows.ts";

/** Rows whose gradients of the weight are added in one task, at least. */
const LEAST_ROWS = 32;
/** Columns of one task where these sums are put together. */
const COLUMNS = 1024;
/** Words of a cache line: sums of different tasks begin on lines of their own. */
const LINE_WORDS = 16;

const rmsNormRows = /*#__PURE__*/ defineRoutine(
  "rmsNorm",
  { x: I32, weight: I32, y: I32, kept: I32, rows: I32, width: I32, perTask: I32, epsilon: F32 },
  (body, { x, weight, y, kept, rows, width, perTask, epsilon }, task) => {
    const size = splat(body, width.toF32U());
    const least = splat(body, epsilon);
    eachRow(body, task, { rows, perTask }, (row) => {
      const from = body.let(wordAt(x, row.mul(width)));
      const to = body.let(wordAt(y, row.mul(width)));
      const squares = rowSum(body, width, (index) => {
        const vector = body.let(F32x4.load(wordAt(from, index)));
        return vector.mul(vector);
      });
      const root = squares.div(size).add(least).sqrt();
      const rstd = body.let(F32x4.const(1).div(root));
      eachVector(body, width, (index, count) => {
        const value = F32x4.load(wordAt(from, index)).mul(rstd);
        const scaled = body.let(value.mul(F32x4.load(wordAt(weight, index))));
        storeFirst(body, wordAt(to, index), scaled, count);
      });
      body.if(kept, () => body.store(wordAt(kept, row), rstd.lane(0)));
    });
  },
);

/** `rmsNorm`; its residual is the factor of each row. */
export const rmsNorm: Kernel = (call) => {
  const [x, weight] = [call.input(0), call.input(1)];
  const { rows, width } = rowsOf(call);
  const { epsilon } = call.attributes<{ epsilon: number }>();
  const kept = call.keepsResiduals ? call.make(1) : undefined;
  const y = call.reuse(0, 1);
  const perTask = rowsPerTask(width);
  call.launch(
    rmsNormRows,
    {
      x: x.address,
      weight: weight.address,
      y: y.address,
      kept: kept?.address ?? 0,
      rows,
      width,
      perTask,
      epsilon,
    },
    Math.ceil(rows / perTask),
  );
  return kept ? [y, kept] : [y];
};

/** Gradients of rows; those of the weight are added over the rows of a task, in order. */
const rmsNormGradients = /*#__PURE__*/ defineRoutine(
  "rmsNormBackward",
  {
    x: I32,
    weight: I32,
    kept: I32,
    gradient: I32,
    dx: I32,
    sums: I32,
    sumsBytes: I32,
    rows: I32,
    width: I32,
    perTask: I32,
  },
  (body, args, task) => {
    const { x, weight, kept, gradient, dx, width } = args;
    const size = splat(body, width.toF32U());
    const sums = body.let(args.sums.add(task.mul(args.sumsBytes)));
    body.fillBytes(sums, 0, args.sumsBytes);
    eachRow(body, task, args, (row) => {
      const first = body.let(row.mul(width));
      const [from, slopes, to] = [x, gradient, dx].map((base) => body.let(wordAt(base, first))) as [
        I32,
        I32,
        I32,
      ];
      const rstd = body.let(F32x4.loadSplat(wordAt(kept, row)));
      const product = rowSum(body, width, (index) =>
        F32x4.load(wordAt(slopes, index))
          .mul(F32x4.load(wordAt(weight, index)))
          .mul(F32x4.load(wordAt(from, index))),
      );
      const share = body.let(product.mul(rstd).mul(rstd).div(size));
      eachVector(body, width, (index, count) => {
        const value = body.let(F32x4.load(wordAt(from, index)));
        const slope = body.let(F32x4.load(wordAt(slopes, index)));
        const sum = body.let(wordAt(sums, index));
        body.store(sum, F32x4.load(sum).add(slope.mul(value.mul(rstd))));
        const weighted = slope.mul(F32x4.load(wordAt(weight, index)));
        const result = body.let(weighted.sub(value.mul(share)).mul(rstd));
        storeFirst(body, wordAt(to, index), result, count);
      });
    });
  },
);

/** Adds the sums of tasks, in order. */
const rmsNormWeight = /*#__PURE__*/ defineRoutine(
  "rmsNormWeight",
  { sums: I32, sumsBytes: I32, count: I32, to: I32, width: I32 },
  (body, { sums, sumsBytes, count, to, width }, task) => {
    const from = body.let(task.mul(COLUMNS));
    const end = body.let(from.add(COLUMNS));
    body.set(end, end.minU(width));
    body.for(from, end, 4, (column) => {
      const sum = body.let(F32x4.const(0));
      const at = body.let(wordAt(sums, column));
      body.for(0, count, 1, () => {
        body.set(sum, sum.add(F32x4.load(at)));
        body.increment(at, sumsBytes);
      });
      body.store(wordAt(to, column), sum);
    });
  },
);

/** `rmsNormBackward`: rows and weight. */
export const rmsNormBackward: Kernel = (call) => {
  const [x, weight, kept, gradient] = [0, 1, 2, 3].map((index) => call.input(index).address) as [
    number,
    number,
    number,
    number,
  ];
  const { rows, width } = rowsOf(call);
  const perTask = Math.max(LEAST_ROWS, rowsPerTask(width));
  const tasks = Math.ceil(rows / perTask);
  const sumsBytes = Math.ceil(width / LINE_WORDS) * LINE_WORDS * 4;
  const dWeight = call.make(1);
  const sums = call.temporary(tasks * sumsBytes);
  const dx = call.make(0);
  call.launch(
    rmsNormGradients,
    { x, weight, kept, gradient, dx: dx.address, sums, sumsBytes, rows, width, perTask },
    tasks,
  );
  call.launch(
    rmsNormWeight,
    { sums, sumsBytes, count: tasks, to: dWeight.address, width },
    Math.ceil(width / COLUMNS),
  );
  return [dx, dWeight];
};

function rowsOf(call: KernelCall): { readonly rows: number; readonly width: number } {
  const { shape } = call.input(0);
  const width = shape.at(-1) ?? 0;
  return { rows: shape.slice(0, -1).reduce((product, size) => product * size, 1), width };
}

/** Routines of these kernels. */
export const normRoutines: readonly Routine[] = [rmsNormRows, rmsNormGradients, rmsNormWeight];
