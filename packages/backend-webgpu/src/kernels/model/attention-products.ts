import type { Extent, Input, KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { type Operand, read, u32, write } from "../../program.ts";
import {
  type AttentionPiece,
  type AttentionShape,
  ATTENTION_ROWS,
  FOUR_ROWS,
  attentionParams,
  hiddenText,
} from "./attention-shape.ts";

/*
 * Three products, each by tiles of 4 × 4 in registers. Sums have one order: blocks of 64, ascending
 * inside a block, and the blocks ascending. A key that a row does not see is never multiplied in, so
 * that neither its values nor its being there changes a bit.
 */

/** What becomes of a row's products with the keys. */
export type ScoreKind = "scores" | "slopes";

/** A tensor of rows, with their width. */
export interface RowOperand {
  readonly handle: GpuHandle;
  readonly width: number;
}

/** WGSL: `at4_NAME(base, k)`, four elements of a row from k on; zeros beyond its width. */
function vectorText(name: string, vectors: boolean): string {
  if (vectors) {
    return `fn at4_${name}(base: u32, k: u32) -> vec4<f32> { return load_${name}((base + k) / 4u); }\n`;
  }
  const element = (step: number): string =>
    `select(0.0, load_${name}(base + k + ${step}u), k + ${step}u < params.width)`;
  return `fn at4_${name}(base: u32, k: u32) -> vec4<f32> {
  return vec4<f32>(${[0, 1, 2, 3].map(element).join(", ")});
}
`;
}

const typeOf = (vectors: boolean): "f32" | "vec4<f32>" => (vectors ? "vec4<f32>" : "f32");

const four = (text: (lane: string, index: number) => string, separator = "\n"): string =>
  ["x", "y", "z", "w"].map(text).join(separator);

/**
 * Rows of `a` times rows of `b` (one for each key) into a matrix of scores: `scores` times the scale;
 * `slopes` (product − statistic) · power · scale.
 */
export function multiplyKeys(
  call: KernelCall,
  shape: AttentionShape,
  piece: AttentionPiece,
  kind: ScoreKind,
  tensors: {
    readonly a: RowOperand;
    readonly b: GpuHandle;
    readonly scores: GpuHandle;
    readonly statistics?: GpuHandle | undefined;
    readonly powers?: GpuHandle | undefined;
  },
): void {
  const { a, b, scores, statistics, powers } = tensors;
  const vectors = a.width % 4 === 0;
  const operands: Record<string, Operand> = {
    a: read(a.handle, typeOf(vectors)),
    b: read(b, typeOf(vectors)),
    s: write(scores, "vec4<f32>"),
  };
  if (statistics) operands["statistics"] = read(statistics, "f32");
  if (powers) operands["powers"] = read(powers, "vec4<f32>");
  call.dispatch(
    {
      name: "attentionScores",
      variant: kind,
      operands,
      params: { ...attentionParams(shape, piece), width: u32(a.width) },
      text: () => ({
        declarations: ATTENTION_ROWS + vectorText("a", vectors) + vectorText("b", vectors),
        main: scoresText(kind),
      }),
    },
    { invocations: (shape.stride / 4) * Math.ceil(piece.rows / 4) * piece.pairs },
  );
}

function scoresText(kind: ScoreKind): string {
  const rows = [0, 1, 2, 3];
  return `
let columns = params.stride / 4u;
let tiles = (params.rows + 3u) / 4u;
let tile = index / columns;
let j = (index - tile * columns) * 4u;
let local = tile / tiles;
let r = (tile - local * tiles) * 4u;
if (local >= params.pairs) { return; }
let pair = pair_at(local);
${FOUR_ROWS}
let most = max(max(limit_of(row0), limit_of(row1)), max(limit_of(row2), limit_of(row3)));
if (j >= most) { return; }
${rows.map((i) => `let a${i} = query_row(pair, row${i}) * params.width;`).join("\n")}
${rows.map((i) => `let b${i} = key_row(pair, min(j + ${i}u, params.keys - 1u)) * params.width;`).join("\n")}
${rows.map((i) => `var total${i} = vec4<f32>();`).join(" ")}
for (var begin = 0u; begin < params.width; begin += 64u) {
  let end = min(params.width, begin + 64u);
  ${rows.map((i) => `var part${i} = vec4<f32>();`).join(" ")}
  for (var k = begin; k < end; k += 4u) {
    let b = transpose(mat4x4<f32>(at4_b(b0, k), at4_b(b1, k), at4_b(b2, k), at4_b(b3, k)));
    ${rows
      .map(
        (i) => `let left${i} = at4_a(a${i}, k);
    ${four((lane, k) => `part${i} = fma(vec4<f32>(left${i}.${lane}), b[${k}], part${i});`, " ")}`,
      )
      .join("\n    ")}
  }
  ${rows.map((i) => `total${i} += part${i};`).join(" ")}
}
${rows.map((i) => `if (r + ${i}u < params.rows) { ${storeText(kind, i)} }`).join("\n")}`;
}

function storeText(kind: ScoreKind, i: number): string {
  const place = `let place = (score_row(pair, row${i}) + j) / 4u;`;
  if (kind === "scores") return `${place} store_s(place, total${i} * params.scale);`;
  const statistic = `let statistic = load_statistics(statistics_row(pair, row${i}));`;
  return `${place} ${statistic}
    store_s(place, (total${i} - statistic) * load_powers(place) * params.scale);`;
}

/** The blocks of keys whose sums are put down separately, where there are few rows. */
export interface SplitSums {
  readonly sums: GpuHandle;
  readonly blocks: number;
}

/**
 * A matrix of scores times rows of `b` (one for each key) into rows of `y`.
 */
export function sumOverKeys(
  call: KernelCall,
  shape: AttentionShape,
  piece: AttentionPiece,
  tensors: {
    readonly scores: GpuHandle;
    readonly b: RowOperand;
    readonly y: GpuHandle;
    readonly mask?: Input | undefined;
  },
  split?: SplitSums,
): void {
  const { scores, b, y, mask } = tensors;
  const vectors = b.width % 4 === 0;
  const operands: Record<string, Operand> = {
    s: read(scores, "vec4<f32>"),
    b: read(b.handle, typeOf(vectors)),
  };
  if (split) operands["sums"] = write(split.sums, "vec4<f32>");
  else operands["y"] = write(y, typeOf(vectors));
  if (mask) operands["mask"] = read(mask.handle, "u32");
  const columns = Math.ceil(b.width / 4);
  const tiles = columns * Math.ceil(piece.rows / 4) * piece.pairs;
  const params = { ...attentionParams(shape, piece), width: u32(b.width) };
  call.dispatch(
    {
      name: "attentionSums",
      variant: `${split !== undefined}`,
      operands,
      params,
      text: () => ({
        declarations: ATTENTION_ROWS + vectorText("b", vectors) + hiddenText(mask),
        main: sumsText(mask !== undefined, split ? "split" : vectors),
      }),
    },
    { invocations: tiles * (split?.blocks ?? 1) },
  );
  if (!split) return;
  const joined: Record<string, Operand> = {
    sums: read(split.sums, "vec4<f32>"),
    y: write(y, typeOf(vectors)),
  };
  call.dispatch(
    {
      name: "attentionJoin",
      operands: joined,
      params,
      text: () => ({
        declarations: ATTENTION_ROWS,
        main: joinText(vectors),
      }),
    },
    { invocations: columns * piece.rows * piece.pairs },
  );
}

/** Stores four columns from `d` on of row `row` of `y`. */
function finishText(vectors: boolean, row: string, value: string): string {
  const place = `query_row(pair, ${row}) * params.width + d`;
  if (vectors) return `store_y((${place}) / 4u, ${value});`;
  return `let place = ${place};
  ${four((lane, k) => `if (d + ${k}u < params.width) { store_y(place + ${k}u, ${value}.${lane}); }`)}`;
}

function sumsText(masked: boolean, output: "split" | boolean): string {
  const rows = [0, 1, 2, 3];
  const split = output === "split";
  const fast = masked ? "false" : "j + 4u <= least";
  return `
let columns = (params.width + 3u) / 4u;
let tiles = (params.rows + 3u) / 4u;
let tile = index / columns;
let d = (index - tile * columns) * 4u;
let slab = tile / tiles;
let r = (tile - slab * tiles) * 4u;
let block = slab / params.pairs;
if (block >= ${split ? "(params.keys + 63u) / 64u" : "1u"}) { return; }
let pair = pair_at(slab - block * params.pairs);
${FOUR_ROWS}
${rows
  .map(
    (i) => `let limit${i} = limit_of(row${i});
let s${i} = score_row(pair, row${i});
var total${i} = vec4<f32>();`,
  )
  .join("\n")}
let most = max(max(limit0, limit1), max(limit2, limit3));
let least = min(min(limit0, limit1), min(limit2, limit3));
for (var begin = ${split ? "block * 64u; begin < min(most, block * 64u + 1u)" : "0u; begin < most"}; begin += 64u) {
  let end = min(most, begin + 64u);
  ${rows.map((i) => `var part${i} = vec4<f32>();`).join(" ")}
  var j = begin;
  while (j < end) {
    if (${fast}) {
      ${four((_, k) => `let b${k} = at4_b(key_row(pair, j + ${k}u) * params.width, d);`, "\n      ")}
      ${rows
        .map(
          (i) => `let left${i} = load_s((s${i} + j) / 4u);
      ${four((lane, k) => `part${i} = fma(vec4<f32>(left${i}.${lane}), b${k}, part${i});`, " ")}`,
        )
        .join("\n      ")}
      j += 4u;
      continue;
    }
    if (!hidden(pair, j)) {
      let b = at4_b(key_row(pair, j) * params.width, d);
      ${rows
        .map(
          (i) =>
            `if (j < limit${i}) { part${i} = fma(vec4<f32>(load_s((s${i} + j) / 4u)[j % 4u]), b, part${i}); }`,
        )
        .join("\n      ")}
    }
    j += 1u;
  }
  ${rows.map((i) => `total${i} += part${i};`).join(" ")}
}
${rows
  .map((i) => {
    const place = `((block * params.pairs + pair.local) * params.rows + row${i}.r) * columns + d / 4u`;
    const store = split
      ? `store_sums(${place}, total${i});`
      : finishText(output, `row${i}`, `total${i}`);
    return `if (r + ${i}u < params.rows) { ${store} }`;
  })
  .join("\n")}`;
}

function joinText(vectors: boolean): string {
  return `
let columns = (params.width + 3u) / 4u;
let tile = index / columns;
let column = index - tile * columns;
let d = column * 4u;
let local = tile / params.rows;
if (local >= params.pairs) { return; }
let pair = pair_at(local);
let row = row_at(tile - local * params.rows);
let size = params.pairs * params.rows * columns;
var total = vec4<f32>();
for (var block = 0u; block * 64u < limit_of(row); block++) {
  total += load_sums(block * size + index);
}
${finishText(vectors, "row", "total")}`;
}

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
let j = (tile - local * tiles) * 4u;
if (local >= params.pairs) { return; }
let pair = pair_at(local);
${keys.map((i) => `var total${i} = vec4<f32>();`).join(" ")}
// The first query that sees key j, at the beginning of its block.
var first = 0u;
if (params.step == 1u && j + 1u > params.seen + params.first_query) {
  first = (j + 1u - params.seen - params.first_query) / 64u * 64u;
}
if (j >= params.keys) { first = params.piece_queries; }
for (var head = 0u; head < params.group; head++) {
  for (var begin = first; begin < params.piece_queries; begin += 64u) {
    let end = min(params.piece_queries, begin + 64u);
    ${keys.map((i) => `var part${i} = vec4<f32>();`).join(" ")}
    for (var q = begin; q < end; q++) {
      let row = Row(head * params.piece_queries + q, head, params.first_query + q);
      let limit = limit_of(row);
      if (limit <= j) { continue; }
      let s = load_s((score_row(pair, row) + j) / 4u);
      let b = at4_b(query_row(pair, row) * params.width, d);
      ${four(
        (lane, k) =>
          `if (j + ${k}u < limit) { part${k} = fma(vec4<f32>(s.${lane}), b, part${k}); }`,
        "\n      ",
      )}
    }
    ${keys.map((i) => `total${i} += part${i};`).join(" ")}
  }
}
${keys
  .map(
    (i) => `if (j + ${i}u < params.capacity) {
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
