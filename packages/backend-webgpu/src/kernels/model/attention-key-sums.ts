import type { Extent, Input, KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { type Operand, read, u32, write } from "../../program.ts";
import { type RowOperand, four, typeOf, vectorText } from "./attention-products.ts";
import {
  type AttentionPiece,
  type AttentionShape,
  ATTENTION_ROWS,
  attentionParams,
  hiddenText,
} from "./attention-shape.ts";

/**
 * The transposed matrix of scores times rows of `b` (one for each row of the piece) into rows of `y`,
 * one for each key; added to what an earlier piece has left there unless it is the first of its pair.
 */
export function sumOverQueries(
  call: KernelCall,
  shape: AttentionShape,
  piece: AttentionPiece,
  tensors: {
    readonly scores: GpuHandle;
    readonly b: RowOperand;
    readonly y: GpuHandle;
    readonly mask?: Input | undefined;
  },
): void {
  const { scores, b, y, mask } = tensors;
  const vectors = b.width % 4 === 0;
  const operands: Record<string, Operand> = {
    s: read(scores, "vec4<f32>"),
    b: read(b.handle, typeOf(vectors)),
    y: write(y, typeOf(vectors)),
  };
  if (mask) operands["mask"] = read(mask.handle, "u32");
  const extent: Extent = {
    invocations: Math.ceil(b.width / 4) * Math.ceil(shape.capacity / 4) * piece.pairs,
  };
  call.dispatch(
    {
      name: "attentionKeySums",
      operands,
      params: { ...attentionParams(shape, piece), width: u32(b.width) },
      text: () => ({
        declarations: ATTENTION_ROWS + vectorText("b", vectors) + hiddenText(mask),
        main: keySumsText(vectors),
      }),
    },
    extent,
  );
}

function keySumsText(vectors: boolean): string {
  const keys = [0, 1, 2, 3];
  return `
let columns = (params.width + 3u) / 4u;
let tiles = (params.capacity + 3u) / 4u;
let tile = index / columns;
let d = (index - tile * columns) * 4u;
let local = tile / tiles;
let key = (tile - local * tiles) * 4u;
// Keys that are skipped wrap, and so are greater than all others.
let j = key - params.skipped;
if (local >= params.pairs) { return; }
let pair = pair_at(local);
${keys.map((i) => `var total${i} = vec4<f32>();`).join(" ")}
// The first query that sees key j, at the beginning of its block.
var first = 0u;
if (params.step == 1u && j + 1u > params.seen + params.first_query) {
  first = (j + 1u - params.seen - params.first_query) / 64u * 64u;
}
// And the one behind the last that sees one of four keys.
var last = params.piece_queries;
if (params.step == 1u) {
  last = min(last, max(j + 4u + params.window, params.seen + params.first_query)
    - params.seen - params.first_query);
}
if (j >= params.keys) { first = last; }
for (var head = 0u; head < params.group; head++) {
  for (var begin = first; begin < last; begin += 64u) {
    let end = min(last, begin + 64u);
    ${keys.map((i) => `var part${i} = vec4<f32>();`).join(" ")}
    for (var q = begin; q < end; q++) {
      let row = Row(head * params.piece_queries + q, head, params.first_query + q);
      let limit = limit_of(row);
      let start = begin_of(limit);
      if (limit <= j || start > j + 3u) { continue; }
      let s = load_s((score_row(pair, row) + j) / 4u);
      let b = at4_b(query_row(pair, row) * params.width, d);
      ${four(
        (lane, k) =>
          `if (j + ${k}u >= start && j + ${k}u < limit) { part${k} = fma(vec4<f32>(s.${lane}), b, part${k}); }`,
        "\n      ",
      )}
    }
    ${keys.map((i) => `total${i} += part${i};`).join(" ")}
  }
}
${keys
  .map(
    (i) => `if (key + ${i}u < params.capacity) {
  let at = key_row(pair, j + ${i}u) * params.width + d;
  if (hidden(pair, j + ${i}u)) { total${i} = vec4<f32>(); }
  ${addText(vectors, `total${i}`)}
}`,
  )
  .join("\n")}`;
}

function addText(vectors: boolean, total: string): string {
  if (vectors) {
    return `if (params.first_query > 0u) { ${total} = load_y(at / 4u) + ${total}; }
  store_y(at / 4u, ${total});`;
  }
  return four(
    (lane, k) => `if (d + ${k}u < params.width) {
    if (params.first_query > 0u) { ${total}.${lane} = load_y(at + ${k}u) + ${total}.${lane}; }
    store_y(at + ${k}u, ${total}.${lane});
  }`,
    "\n  ",
  );
}
