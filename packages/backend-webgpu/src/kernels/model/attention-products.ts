import type { Input, KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { type Operand, read, u32, write } from "../../program.ts";
import {
  type AttentionPiece,
  type AttentionShape,
  ATTENTION_ROWS,
  FOUR_LIMITS,
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
export function vectorText(name: string, vectors: boolean): string {
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

/** How an operand's rows are bound. */
export const typeOf = (vectors: boolean): "f32" | "vec4<f32>" => (vectors ? "vec4<f32>" : "f32");

/** WGSL: a text for each lane of a vector. */
export const four = (text: (lane: string, index: number) => string, separator = "\n"): string =>
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
${FOUR_LIMITS}
if (j >= most || j + 4u <= earliest) { return; }
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
  const fast = masked ? "false" : "j >= latest && j + 4u <= least && j % 4u == 0u";
  const blocks = split
    ? "block * 64u; begin < min(most, block * 64u + 1u)"
    : "earliest / 64u * 64u; begin < most";
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
    (i) => `let s${i} = score_row(pair, row${i});
var total${i} = vec4<f32>();`,
  )
  .join("\n")}
${FOUR_LIMITS}
let least = min(min(limit0, limit1), min(limit2, limit3));
let latest = max(max(begin0, begin1), max(begin2, begin3));
for (var begin = ${blocks}; begin += 64u) {
  let end = min(most, begin + 64u);
  ${rows.map((i) => `var part${i} = vec4<f32>();`).join(" ")}
  var j = max(begin, earliest / 4u * 4u);
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
            `if (j >= begin${i} && j < limit${i}) { part${i} = fma(vec4<f32>(load_s((s${i} + j) / 4u)[j % 4u]), b, part${i}); }`,
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
let limit = limit_of(row);
var total = vec4<f32>();
for (var block = begin_of(limit) / 64u; block * 64u < limit; block++) {
  total += load_sums(block * size + index);
}
${finishText(vectors, "row", "total")}`;
}
