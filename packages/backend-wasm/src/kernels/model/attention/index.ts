import type { Kernel } from "../../../kernel.ts";
import type { Routine } from "../../../routine.ts";
import { backwardRoutines } from "./backward.ts";
import { columnRoutines, panelsOfColumns } from "./columns.ts";
import { packRoutines, transposedPanels } from "./pack.ts";
import { ROWS_AT_ONCE } from "./row-batch.ts";
import { launchRows, rowRoutines } from "./rows.ts";
import { attentionShape } from "./shape.ts";
import { launchTiles, tileRoutines } from "./tiles.ts";

export { attentionBackward } from "./backward.ts";

/** `attention`; its residual is the logarithm of each row's sum of powers. */
export const attention: Kernel = (call) => {
  const shape = attentionShape(call);
  const [mask, sinks] = [call.optional(3), call.optional(4)?.address ?? 0];
  const output = call.make(0);
  const residual = call.keepsResiduals ? call.make(1) : undefined;
  const outputs = residual ? [output, residual] : [output];
  const results = { mask, sinks, y: output.address, kept: residual?.address ?? 0 };
  if (shape.pairs * shape.rows === 0) return outputs;
  // Few rows read keys and values where they lie; more are worth packing them for tiles.
  if (shape.rows <= ROWS_AT_ONCE || shape.seen === 0) {
    launchRows(call, shape, results);
    return outputs;
  }
  const values = panelsOfColumns(call, shape, call.input(2), shape.valueWidth, mask);
  if (values.finite) {
    const keys = transposedPanels(call, shape, call.input(1), shape.width);
    launchTiles(call, shape, { ...results, keys, values: values.address });
  } else {
    // A tile multiplies values that a row does not see by 0, which is right for numbers alone.
    launchRows(call, shape, results);
  }
  return outputs;
};

/** Routines of these kernels. */
export const attentionRoutines: readonly Routine[] = [
  ...packRoutines,
  ...columnRoutines,
  ...tileRoutines,
  ...rowRoutines,
  ...backwardRoutines,
];
