import type { Kernel, KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { read, write } from "../../program.ts";
import { sumOverQueries } from "./attention-key-sums.ts";
import { multiplyKeys, sumOverKeys } from "./attention-products.ts";
import {
  type AttentionPiece,
  type AttentionShape,
  ATTENTION_ROWS,
  attentionParams,
  attentionPieces,
  attentionShape,
  matrixOf,
} from "./attention-shape.ts";
import { functions } from "./functions.ts";
import { laneSum, planRows } from "./rows.ts";

/**
 * `attentionBackward`: powers again from the kept logarithms, the slopes of the scores from them,
 * then three sums: over keys for q, over queries for k and v.
 */
export const attentionBackward: Kernel = (call) => {
  const shape = attentionShape(call);
  const [q, k, v, kept, gradient] = [0, 1, 2, 4, 5].map((index) => call.input(index).handle) as [
    GpuHandle,
    GpuHandle,
    GpuHandle,
    GpuHandle,
    GpuHandle,
  ];
  const mask = call.optional(6);
  const [dq, dk, dv] = [call.make(0), call.make(1), call.make(2)];
  const { width, valueWidth } = shape;
  const pieces = attentionPieces(call.context, shape);
  const [largest] = pieces;
  if (!largest) {
    clear(call, [dk, dv]);
    return [dq, dk, dv];
  }
  const products = outputProducts(call);
  const powers = call.temporary(matrixOf(shape, largest));
  const slopes = call.temporary(matrixOf(shape, largest));
  for (const piece of pieces) {
    multiplyKeys(call, shape, piece, "scores", { a: { handle: q, width }, b: k, scores: powers });
    raiseAgain(call, shape, piece, powers, kept);
    multiplyKeys(call, shape, piece, "slopes", {
      a: { handle: gradient, width: valueWidth },
      b: v,
      scores: slopes,
      statistics: products,
      powers,
    });
    sumOverKeys(call, shape, piece, { scores: slopes, b: { handle: k, width }, y: dq, mask });
    const [rows, values] = [
      { handle: q, width },
      { handle: gradient, width: valueWidth },
    ];
    sumOverQueries(call, shape, piece, { scores: slopes, b: rows, y: dk, mask });
    sumOverQueries(call, shape, piece, { scores: powers, b: values, y: dv, mask });
  }
  return [dq, dk, dv];
};

/** Turns scores into e^(score − logarithm of the row's sum), in place. */
function raiseAgain(
  call: KernelCall,
  shape: AttentionShape,
  piece: AttentionPiece,
  scores: GpuHandle,
  kept: GpuHandle,
): void {
  call.dispatch(
    {
      name: "attentionPowersAgain",
      operands: { s: write(scores, "f32"), kept: read(kept, "f32") },
      params: attentionParams(shape, piece),
      text: () => ({
        declarations: ATTENTION_ROWS + functions("exponential"),
        main: `let line = index / params.stride;
let local = line / params.rows;
if (local >= params.pairs) { return; }
let row = row_at(line - local * params.rows);
let limit = limit_of(row);
let j = index - line * params.stride;
if (j >= limit || j < begin_of(limit)) { return; }
let kept = load_kept(statistics_row(pair_at(local), row));
store_s(index, exponential(load_s(index) - kept));`,
      }),
    },
    { invocations: piece.pairs * piece.rows * shape.stride },
  );
}

/** The product of each row of the output with its gradient, `[B, Hq, Tq]`. */
function outputProducts(call: KernelCall): GpuHandle {
  const [output, gradient] = [call.input(3), call.input(5)];
  const [batch = 0, queries = 0, heads = 0, width = 0] = output.shape;
  const rows = batch * heads * queries;
  const products = call.temporary({ shape: [rows], dtype: "f32" });
  const plan = planRows(call.context, width);
  call.dispatch(
    {
      name: "attentionOutputProducts",
      variant: `${plan.lanes}`,
      workgroupSize: plan.workgroupSize,
      operands: {
        y: read(output.handle, "f32"),
        g: read(gradient.handle, "f32"),
        products: write(products, "f32"),
      },
      params: {
        rows: { type: "u32", value: rows },
        width: { type: "u32", value: width },
        queries: { type: "u32", value: queries },
        heads: { type: "u32", value: heads },
      },
      text: () => ({
        declarations: plan.declarations,
        main: `${plan.begin}
let q = row % params.queries;
let head = row / params.queries % params.heads;
let batch = row / params.queries / params.heads;
let base = ((batch * params.queries + q) * params.heads + head) * params.width;
${laneSum("part_sum", "params.width", "load_y(base + i) * load_g(base + i)")}
let sum = row_sum(lane, part_sum);
if (lane == 0u) { store_products(row, sum); }`,
      }),
    },
    plan.extent(rows),
  );
  return products;
}

function clear(call: KernelCall, handles: readonly GpuHandle[]): void {
  for (const handle of handles) {
    const count = Math.ceil(handle.byteLength / 4);
    call.dispatch(
      {
        name: "attentionClear",
        operands: { y: write(handle, "u32") },
        params: { count: { type: "u32", value: count } },
        text: () => ({ main: "if (index < params.count) { store_y(index, 0u); }" }),
      },
      { invocations: count },
    );
  }
}
