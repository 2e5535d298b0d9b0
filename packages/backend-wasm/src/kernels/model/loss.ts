import { I32 } from "../../emit/scalars.ts";
import { F32x4 } from "../../emit/vectors.ts";
import type { Kernel } from "../../kernel.ts";
import { type Routine, defineRoutine } from "../../routine.ts";
import { exp4, log4 } from "../functions/index.ts";
import { wordAt } from "../reduction/lanes.ts";
import { largestOf, sumOfPowers } from "../reduction/softmax-row.ts";
import { eachRow, eachVector, rowsPerTask, storeFirst } from "./rows.ts";

const crossEntropyRows = /*#__PURE__*/ defineRoutine(
  "crossEntropy",
  { logits: I32, targets: I32, loss: I32, kept: I32, rows: I32, width: I32, perTask: I32 },
  (body, { logits, targets, loss, kept, rows, width, perTask }, task) => {
    eachRow(body, task, { rows, perTask }, (row) => {
      const from = body.let(wordAt(logits, row.mul(width)));
      const span = { from, count: width };
      const greatest = largestOf(body, span);
      const sum = sumOfPowers(body, span, greatest);
      const logarithm = body.let(log4(body, sum));
      const target = body.let(I32.load(wordAt(targets, row)));
      const place = wordAt(loss, row);
      body.store(place, I32.const(0));
      body.if(target.ltU(width), () => {
        const chosen = F32x4.loadSplat(wordAt(from, target)).sub(greatest);
        body.store(place, logarithm.sub(chosen).lane(0));
      });
      body.if(kept, () => body.store(wordAt(kept, row), logarithm.add(greatest).lane(0)));
    });
  },
);

/** `crossEntropy`; its residual is the logarithm of each row's sum of powers. */
export const crossEntropy: Kernel = (call) => {
  const [logits, targets] = [call.input(0), call.input(1)];
  const [rows = 0, width = 0] = logits.shape;
  const loss = call.make(0);
  const kept = call.keepsResiduals ? call.make(1) : undefined;
  const perTask = rowsPerTask(width);
  call.launch(
    crossEntropyRows,
    {
      logits: logits.address,
      targets: targets.address,
      loss: loss.address,
      kept: kept?.address ?? 0,
      rows,
      width,
      perTask,
    },
    Math.ceil(rows / perTask),
  );
  return kept ? [loss, kept] : [loss];
};

const crossEntropyGradients = /*#__PURE__*/ defineRoutine(
  "crossEntropyBackward",
  {
    logits: I32,
    targets: I32,
    kept: I32,
    gradient: I32,
    dx: I32,
    rows: I32,
    width: I32,
    perTask: I32,
  },
  (body, { logits, targets, kept, gradient, dx, rows, width, perTask }, task) => {
    eachRow(body, task, { rows, perTask }, (row) => {
      const from = body.let(wordAt(logits, row.mul(width)));
      const to = body.let(wordAt(dx, row.mul(width)));
      const target = body.let(I32.load(wordAt(targets, row)));
      body.if(
        target.ltU(width),
        () => {
          const logarithm = body.let(F32x4.loadSplat(wordAt(kept, row)));
          const slope = body.let(F32x4.loadSplat(wordAt(gradient, row)));
          const powerAt = (index: I32): F32x4 =>
            exp4(body, F32x4.load(wordAt(from, index)).sub(logarithm));
          const chosen = body.let(powerAt(target).sub(F32x4.const(1)).mul(slope).lane(0));
          eachVector(body, width, (index, count) => {
            const vector = body.let(powerAt(index).mul(slope));
            storeFirst(body, wordAt(to, index), vector, count);
          });
          body.store(wordAt(to, target), chosen);
        },
        () => body.fillBytes(to, 0, width.shl(2)),
      );
    });
  },
);

/** `crossEntropyBackward`. */
export const crossEntropyBackward: Kernel = (call) => {
  const [logits, targets, kept, gradient] = [0, 1, 2, 3].map(
    (index) => call.input(index).address,
  ) as [number, number, number, number];
  const [rows = 0, width = 0] = call.spec(0).shape;
  const dx = call.reuse(0, 1);
  const perTask = rowsPerTask(width);
  call.launch(
    crossEntropyGradients,
    { logits, targets, kept, gradient, dx: dx.address, rows, width, perTask },
    Math.ceil(rows / perTask),
  );
  return [dx];
};

/** Routines of these kernels. */
export const lossRoutines: readonly Routine[] = [crossEntropyRows, crossEntropyGradients];
