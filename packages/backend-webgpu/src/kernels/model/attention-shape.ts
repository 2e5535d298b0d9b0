import type { AttentionAttributes, TensorSpec } from "@moiety/core";
import type { GpuContext } from "../../context.ts";
import type { Input, KernelCall } from "../../kernel.ts";
import { type Param, f32, u32 } from "../../program.ts";

/** Bytes that the scores of one piece of the work take at most, where a row is no larger. */
const PIECE_BYTES = 2 ** 26;
/** Keys of a block: sums over keys are made block by block. */
export const KEY_BLOCK = 64;

/**
 * Sizes of an attention. Key heads of all batches go together: there are `pairs` of them. Keys are
 * counted from the first block on in which some query sees one: those before it lie before every window.
 */
export interface AttentionShape {
  readonly pairs: number;
  /** Query heads of one key head. */
  readonly group: number;
  readonly keyHeads: number;
  readonly queries: number;
  /** Keys that there are. */
  readonly capacity: number;
  /** Keys before the first block in which some query sees one. */
  readonly skipped: number;
  /** Keys behind these, up to the last one that some query may see. */
  readonly keys: number;
  /** Keys that query 0 sees, and how many more each next one does. */
  readonly seen: number;
  readonly step: 0 | 1;
  /** Of the keys up to its last one a query sees so many. */
  readonly window: number;
  readonly width: number;
  readonly valueWidth: number;
  /** Distance of the rows of a matrix of scores. */
  readonly stride: number;
  readonly scale: number;
}

/** Reads the sizes off q, k, v. */
export function attentionShape(call: KernelCall): AttentionShape {
  const [q, k, v] = [call.input(0), call.input(1), call.input(2)];
  const { causal, position, scale, ...attributes } = call.attributes<AttentionAttributes>();
  const [batch = 0, queries = 0, heads = 0, width = 0] = q.shape;
  const [, capacity = 0, keyHeads = 0] = k.shape;
  const { window = capacity } = attributes;
  const before = causal ? Math.max(0, position + 1 - window) : 0;
  // Whole blocks, so that a key is in the same block whatever else is seen.
  const skipped = Math.floor(before / KEY_BLOCK) * KEY_BLOCK;
  const keys = (causal ? Math.min(capacity, position + queries) : capacity) - skipped;
  return {
    pairs: batch * keyHeads,
    group: keyHeads === 0 ? 0 : heads / keyHeads,
    keyHeads,
    queries,
    capacity,
    skipped,
    keys,
    seen: causal ? position + 1 - skipped : keys,
    step: causal ? 1 : 0,
    window: Math.min(window, keys),
    width,
    valueWidth: v.shape[3] ?? 0,
    stride: Math.ceil(keys / 4) * 4,
    scale,
  };
}

/** A piece of the work: some pairs, and of each the same queries. */
export interface AttentionPiece {
  readonly firstPair: number;
  readonly pairs: number;
  readonly firstQuery: number;
  readonly queries: number;
  /** Rows of a pair: query heads times queries. */
  readonly rows: number;
}

/** The matrix of a piece's scores. */
export function matrixOf(
  { stride }: AttentionShape,
  { pairs, rows }: Pick<AttentionPiece, "pairs" | "rows">,
): TensorSpec {
  return { shape: [pairs * rows * stride], dtype: "f32" };
}

/** Cuts the work so that the scores of a piece fit. Any cut gives a query the same bits. */
export function attentionPieces(context: GpuContext, shape: AttentionShape): AttentionPiece[] {
  const { pairs, group, queries, stride } = shape;
  if (pairs * group * queries === 0) return [];
  const room = Math.min(PIECE_BYTES, context.segmentBytes) / 4 / Math.max(stride, 1);
  const whole = group * queries;
  const together = Math.max(1, Math.floor(room / whole));
  const least = room < whole ? Math.max(1, Math.floor(room / group)) : queries;
  // Whole blocks of queries, so that gradients of keys add in blocks too.
  const span = least > 64 && least < queries ? Math.floor(least / 64) * 64 : least;
  const pieces: AttentionPiece[] = [];
  for (let firstPair = 0; firstPair < pairs; firstPair += together) {
    for (let firstQuery = 0; firstQuery < queries; firstQuery += span) {
      const count = Math.min(span, queries - firstQuery);
      pieces.push({
        firstPair,
        pairs: Math.min(together, pairs - firstPair),
        firstQuery,
        queries: count,
        rows: group * count,
      });
    }
  }
  return pieces;
}

/** The numbers that all kernels of attention take. */
export function attentionParams(
  shape: AttentionShape,
  piece: AttentionPiece,
): Record<string, Param> {
  return {
    first_pair: u32(piece.firstPair),
    pairs: u32(piece.pairs),
    first_query: u32(piece.firstQuery),
    piece_queries: u32(piece.queries),
    rows: u32(piece.rows),
    group: u32(shape.group),
    key_heads: u32(shape.keyHeads),
    heads: u32(shape.keyHeads * shape.group),
    queries: u32(shape.queries),
    capacity: u32(shape.capacity),
    skipped: u32(shape.skipped),
    keys: u32(shape.keys),
    seen: u32(shape.seen),
    step: u32(shape.step),
    window: u32(shape.window),
    stride: u32(shape.stride),
    scale: f32(shape.scale),
  };
}

/**
 * WGSL: places of rows. A `Pair` is a key head of a batch; a `Row` is one of its rows in the piece: a
 * query head of its group, and a query. Both cost divisions, which are slow, and are made once.
 */
export const ATTENTION_ROWS = `
struct Pair { local: u32, queries: u32, keys: u32, mask: u32, statistics: u32, heads: u32 }
struct Row { r: u32, head: u32, query: u32 }
fn pair_at(local: u32) -> Pair {
  let number = params.first_pair + local;
  let batch = number / params.key_heads;
  let key_head = number - batch * params.key_heads;
  return Pair(
    local,
    batch * params.queries * params.heads + key_head * params.group,
    (batch * params.capacity + params.skipped) * params.key_heads + key_head,
    batch * params.capacity + params.skipped,
    number * params.group * params.queries,
    key_head * params.group,
  );
}
fn row_at(r: u32) -> Row {
  let head = r / params.piece_queries;
  return Row(r, head, params.first_query + r - head * params.piece_queries);
}
// The last row is its own next one.
fn row_behind(row: Row) -> Row {
  if (row.r + 1u >= params.rows) { return row; }
  let wraps = row.query + 1u == params.first_query + params.piece_queries;
  return Row(
    row.r + 1u,
    row.head + select(0u, 1u, wraps),
    select(row.query + 1u, params.first_query, wraps),
  );
}
fn limit_of(row: Row) -> u32 {
  return min(params.keys, params.seen + row.query * params.step);
}
// The first key that a row sees which sees those below a limit.
fn begin_of(limit: u32) -> u32 { return limit - min(limit, params.window); }
// Among the rows of q, of the output and of its gradient: [B, Tq, Hq].
fn query_row(pair: Pair, row: Row) -> u32 {
  return pair.queries + row.query * params.heads + row.head;
}
// Among the rows of k and v: [B, Tk, Hkv].
fn key_row(pair: Pair, j: u32) -> u32 { return pair.keys + j * params.key_heads; }
// Among the statistics of rows: [B, Hq, Tq].
fn statistics_row(pair: Pair, row: Row) -> u32 {
  return pair.statistics + row.head * params.queries + row.query;
}
// Where a row of scores begins; pairs count from the first of the piece.
fn score_row(pair: Pair, row: Row) -> u32 {
  return (pair.local * params.rows + row.r) * params.stride;
}
`;

/** WGSL: the four rows `row0` … `row3` from r on; behind the last one it is repeated. */
export const FOUR_ROWS = `
let row0 = row_at(r);
let row1 = row_behind(row0);
let row2 = row_behind(row1);
let row3 = row_behind(row2);`;

/** WGSL: where the keys of these rows begin and end; the earliest beginning, and the most that one sees. */
export const FOUR_LIMITS = `
let limit0 = limit_of(row0);
let limit1 = limit_of(row1);
let limit2 = limit_of(row2);
let limit3 = limit_of(row3);
let begin0 = begin_of(limit0);
let begin1 = begin_of(limit1);
let begin2 = begin_of(limit2);
let begin3 = begin_of(limit3);
let most = max(max(limit0, limit1), max(limit2, limit3));
let earliest = min(min(begin0, begin1), min(begin2, begin3));`;

/** WGSL: `hidden(pair, j)`, whether the mask hides a key. */
export function hiddenText(mask: Input | undefined): string {
  const body = mask ? "return load_mask(pair.mask + j) == 0u;" : "return false;";
  return `fn hidden(pair: Pair, j: u32) -> bool { ${body} }\n`;
}
