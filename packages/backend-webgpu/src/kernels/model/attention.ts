import type { TensorSpec } from "@moiety/core";
import type { Input, Kernel, KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { type Operand, read, write } from "../../program.ts";
import { type SplitSums, multiplyKeys, sumOverKeys, sumOverQueries } from "./attention-products.ts";
import {
  type AttentionPiece,
  type AttentionShape,
  ATTENTION_ROWS,
  attentionParams,
  attentionPieces,
  attentionShape,
  hiddenText,
} from "./attention-shape.ts";
import { LOWEST, functions } from "./functions.ts";
import { laneSum, planRows } from "./rows.ts";

/** From this number of keys on, blocks of them go to different invocations where rows are few. */
const SPLIT_KEYS = 256;
/** So many invocations keep a device busy. */
const BUSY = 16_384;

/**
 * `attention`: a matrix of scores, piece by piece; its rows become shares in place; these times the
 * values. The residual is the logarithm of the rows' sums of powers.
 */
export const attention: Kernel = (call) => {
  const shape = attentionShape(call);
  const [q, k, v] = [call.input(0), call.input(1), call.input(2)];
  const mask = call.optional(3);
  const y = call.make(0);
  const kept = call.keepsResiduals ? call.make(1) : undefined;
  const pieces = attentionPieces(call.context, shape);
  const [largest] = pieces;
  if (!largest) return kept ? [y, kept] : [y];
  const scores = call.temporary(matrixOf(shape, largest));
  const split = splitFor(call, shape, largest);
  for (const piece of pieces) {
    const a = { handle: q.handle, width: shape.width };
    multiplyKeys(call, shape, piece, "scores", { a, b: k.handle, scores });
    shareRows(call, shape, piece, { scores, kept, mask });
    const b = { handle: v.handle, width: shape.valueWidth };
    sumOverKeys(call, shape, piece, { scores, b, y, mask }, split);
  }
  return kept ? [y, kept] : [y];
};

function matrixOf({ stride }: AttentionShape, { pairs, rows }: AttentionPiece): TensorSpec {
  return { shape: [pairs * rows * stride], dtype: "f32" };
}

/** Decoding has few rows and many keys. The bits are those of the undivided sum. */
function splitFor(
  call: KernelCall,
  { keys, valueWidth }: AttentionShape,
  { pairs, rows }: AttentionPiece,
): SplitSums | undefined {
  const columns = Math.ceil(valueWidth / 4);
  const tiles = columns * Math.ceil(rows / 4) * pairs;
  if (call.context.tiling === "registers" || keys < SPLIT_KEYS || tiles >= BUSY) return undefined;
  const blocks = Math.ceil(keys / 64);
  const sums = call.temporary({ shape: [blocks * pairs * rows * columns * 4], dtype: "f32" });
  return { sums, blocks };
}

/** Turns rows of scores into shares: e^(score − largest) over their sum; keeps its logarithm. */
function shareRows(
  call: KernelCall,
  shape: AttentionShape,
  piece: AttentionPiece,
  tensors: {
    readonly scores: GpuHandle;
    readonly kept: GpuHandle | undefined;
    readonly mask: Input | undefined;
  },
): void {
  const { scores, kept, mask } = tensors;
  // One order for every number of keys: of those behind a row's last one, nothing is added.
  const plan = planRows(call.context, shape.keys, call.context.tiling === "registers" ? 1 : 64);
  const operands: Record<string, Operand> = { s: write(scores, "f32") };
  if (kept) operands["kept"] = write(kept, "f32");
  if (mask) operands["mask"] = read(mask.handle, "u32");
  const params = attentionParams(shape, piece);
  call.dispatch(
    {
      name: "attentionShares",
      variant: `${plan.lanes}`,
      workgroupSize: plan.workgroupSize,
      operands,
      params,
      text: () => ({
        declarations:
          plan.declarations +
          ATTENTION_ROWS +
          hiddenText(mask) +
          functions("exponential", "logarithm"),
        main: sharesText(
          plan.begin.replace("params.rows", "params.rows * params.pairs"),
          kept !== undefined,
        ),
      }),
    },
    plan.extent(piece.rows * piece.pairs),
  );
}

function sharesText(begin: string, keeps: boolean): string {
  return `${begin}
let local = row / params.rows;
let pair = pair_at(local);
let place = row_at(row - local * params.rows);
let base = row * params.stride;
let limit = limit_of(place);
var top = ${LOWEST};
var found = 0.0;
for (var i = lane; i < limit; i += LANES) {
  if (hidden(pair, i)) { continue; }
  found = 1.0;
  let value = load_s(base + i);
  if (!is_nan(value)) { top = max(top, value); }
}
let greatest = row_max(lane, top);
let any = row_max(lane, found);
${laneSum("part_sum", "limit", "raised", {
  before: "let raised = exponential(load_s(base + i) - greatest); store_s(base + i, raised);",
  skip: "hidden(pair, i)",
})}
let sum = row_sum(lane, part_sum);
for (var i = lane; i < limit; i += LANES) {
  store_s(base + i, load_s(base + i) / sum);
}
${keeps ? KEEP : ""}`;
}

const KEEP = `if (lane == 0u) {
  store_kept(statistics_row(pair, place), select(0.0, greatest + logarithm(sum), any > 0.0));
}`;

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
if (index - line * params.stride >= limit_of(row)) { return; }
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
