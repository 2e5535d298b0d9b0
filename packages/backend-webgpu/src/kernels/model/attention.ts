import type { Input, Kernel, KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { type Operand, read, write } from "../../program.ts";
import { type SplitSums, multiplyKeys, sumOverKeys } from "./attention-products.ts";
import {
  type AttentionPiece,
  type AttentionShape,
  ATTENTION_ROWS,
  KEY_BLOCK,
  attentionParams,
  attentionPieces,
  attentionShape,
  hiddenText,
  matrixOf,
} from "./attention-shape.ts";
import { LOWEST, functions } from "./functions.ts";
import { planRows } from "./rows.ts";

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
  const [mask, sinks] = [call.optional(3), call.optional(4)];
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
    shareRows(call, shape, piece, { scores, kept, mask, sinks });
    const b = { handle: v.handle, width: shape.valueWidth };
    sumOverKeys(call, shape, piece, { scores, b, y, mask }, split);
  }
  return kept ? [y, kept] : [y];
};

/** Decoding has few rows and many keys. The bits are those of the undivided sum. */
function splitFor(
  call: KernelCall,
  { keys, valueWidth }: AttentionShape,
  { pairs, rows }: AttentionPiece,
): SplitSums | undefined {
  const columns = Math.ceil(valueWidth / 4);
  const tiles = columns * Math.ceil(rows / 4) * pairs;
  if (call.context.tiling === "registers" || keys < SPLIT_KEYS || tiles >= BUSY) return undefined;
  const blocks = Math.ceil(keys / KEY_BLOCK);
  const sums = call.temporary({ shape: [blocks * pairs * rows * columns * 4], dtype: "f32" });
  return { sums, blocks };
}

/**
 * Turns rows of scores into shares: e^(score − largest) over their sum, in which the power of the sink
 * counts; keeps its logarithm.
 */
function shareRows(
  call: KernelCall,
  shape: AttentionShape,
  piece: AttentionPiece,
  tensors: {
    readonly scores: GpuHandle;
    readonly kept: GpuHandle | undefined;
    readonly mask: Input | undefined;
    readonly sinks: Input | undefined;
  },
): void {
  const { scores, kept, mask, sinks } = tensors;
  // One order for every number of keys: of those that a row does not see, nothing is added.
  const plan = planRows(call.context, shape.keys, call.context.tiling === "registers" ? 1 : 64);
  const operands: Record<string, Operand> = { s: write(scores, "f32") };
  if (kept) operands["kept"] = write(kept, "f32");
  if (mask) operands["mask"] = read(mask.handle, "u32");
  if (sinks) operands["sinks"] = read(sinks.handle, "f32");
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
        main: sharesText(plan.begin.replace("params.rows", "params.rows * params.pairs"), {
          keeps: kept !== undefined,
          sinks: sinks !== undefined,
        }),
      }),
    },
    plan.extent(piece.rows * piece.pairs),
  );
}

function sharesText(
  begin: string,
  { keeps, sinks }: { readonly keeps: boolean; readonly sinks: boolean },
): string {
  return `${begin}
let local = row / params.rows;
let pair = pair_at(local);
let place = row_at(row - local * params.rows);
let base = row * params.stride;
let limit = limit_of(place);
let start = begin_of(limit);
// The first key from there on that is the lane's own.
let first = start + (lane + LANES - start % LANES) % LANES;
var top = ${LOWEST};
var found = 0.0;
${sinks ? SINK : ""}
for (var i = first; i < limit; i += LANES) {
  if (hidden(pair, i)) { continue; }
  found = 1.0;
  let value = load_s(base + i);
  if (!is_nan(value)) { top = max(top, value); }
}
let greatest = row_max(lane, top);
let any = row_max(lane, found);
var part_sum = 0.0;
for (var i = first; i < limit;) {
  // Blocks have their places among all keys, those that are skipped too.
  let block = (i + params.skipped) / (LANES * 64u);
  let stop = min(limit, (block + 1u) * LANES * 64u - params.skipped);
  var part = 0.0;
  for (; i < stop; i += LANES) {
    if (hidden(pair, i)) { continue; }
    let raised = exponential(load_s(base + i) - greatest);
    store_s(base + i, raised);
    part += raised;
  }
  part_sum += part;
}
let sum = row_sum(lane, part_sum)${sinks ? " + exponential(sink - greatest)" : ""};
for (var i = first; i < limit; i += LANES) {
  store_s(base + i, load_s(base + i) / sum);
}
${keeps ? KEEP : ""}`;
}

const SINK = `let sink = load_sinks(pair.heads + place.head);
found = 1.0;
if (!is_nan(sink)) { top = sink; }`;

const KEEP = `if (lane == 0u) {
  store_kept(statistics_row(pair, place), select(0.0, greatest + logarithm(sum), any > 0.0));
}`;
