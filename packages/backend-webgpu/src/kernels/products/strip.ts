import type { KernelCall } from "../../kernel.ts";
import { type Operand, type Param, u32 } from "../../program.ts";
import { BLOCK } from "./cut.ts";
import { type Factor, readsNativeHalves } from "./factor.ts";
import { QUAD, type RowText, liveRows, range, rowsOf } from "./row-texts.ts";
import { type Walk, walkOf, walkText, walks } from "./walk.ts";

/**
 * Few rows times a matrix, cut along k. In strips each invocation adds up one block of one column, and
 * the blocks are added in their order afterwards; where sums may have another order the lanes walk
 * along k. The pieces of WGSL see `item` and what `begin` declares.
 */
export interface StripRequest {
  readonly name: string;
  readonly variant: string;
  /** Rows of an item, at most {@link FEW_ROWS}: 1, 2, 4 or 8. */
  readonly rows: number;
  readonly left: Factor;
  readonly right: Factor;
  readonly operands: Readonly<Record<string, Operand>>;
  readonly params: Readonly<Record<string, Param>>;
  readonly items: number;
  /** Places of columns; each computes the one or two columns that `columns` names. */
  readonly places: number;
  /** Length of the sums, where the host knows it: a hint. */
  readonly inner: number;
  readonly declarations: string;
  /**
   * Declares `first` and `limit` (rows of the item) and `end` (how many k), or returns, which must not
   * depend on the invocation.
   */
  readonly begin: string;
  readonly columns: (place: string) => readonly [string] | readonly [string, string];
  /** WGSL: the row of a number below `rows`, at least `limit` where there is none; `first + number`
   * unless given. */
  readonly rowAt?: RowText | undefined;
  /** Statements that store the sums `v0` (and `v1`) of `row` at `column`, a place of columns. */
  readonly store: string;
}

/** Invocations of a workgroup. */
const SIZE = 256;

/** Queues a product of few rows. */
export function multiplyFew(call: KernelCall, request: StripRequest): void {
  if (walks(call.context, request.right, request.rows)) {
    multiplyWalking(call, request, walkOf(call.context, request));
  } else multiplyStrips(call, request);
}

function multiplyWalking(call: KernelCall, request: StripRequest, walk: Walk): void {
  const { name, left, right, operands, declarations, items, places, rows } = request;
  const strips = Math.ceil(places / walk.places);
  call.dispatch(
    {
      name,
      variant: `walk${rows}x${walk.places}${walk.subgroups ? "s" : ""};${left.variant};${right.variant};${request.variant}`,
      operands,
      params: { ...request.params, items: u32(items), places: u32(places), strips: u32(strips) },
      workgroupSize: walk.size,
      f16: readsNativeHalves(right),
      subgroups: walk.subgroups,
      text: () => {
        const own = walkText(request, walk);
        return {
          declarations: `${left.declarations}\n${right.declarations}\n${declarations}\n${own.declarations ?? ""}`,
          main: own.main,
        };
      },
    },
    { groups: items * strips },
  );
}

function multiplyStrips(call: KernelCall, request: StripRequest): void {
  const { name, left, right, operands, declarations, items, places, rows } = request;
  // Long sums are cut among more invocations, so that there are enough of them for wide devices.
  const lanes = request.inner >= 16 * BLOCK ? 16 : 32;
  const strips = Math.ceil(places / lanes);
  call.dispatch(
    {
      name,
      variant: `g${rows}x${lanes};${left.variant};${right.variant};${request.variant}`,
      operands,
      params: {
        ...request.params,
        items: u32(items),
        places: u32(places),
        strips: u32(strips),
      },
      workgroupSize: SIZE,
      f16: readsNativeHalves(right),
      text: () => ({
        declarations: `${left.declarations}\n${right.declarations}\n${declarations}
var<workgroup> partials: array<f32, ${SIZE * rows * request.columns("").length}>;`,
        main: stripText(request, lanes),
      }),
    },
    { groups: items * strips },
  );
}

function stripText(request: StripRequest, lanes: number): string {
  const { left, right, rows, begin, store } = request;
  const columns = request.columns("column");
  const slots = SIZE / lanes;
  const sum = (row: number, column: number): string => `s${row * columns.length + column}`;
  const sums = rows * columns.length;
  const rowAt = rowsOf(request);
  const scale = left.scaleOfOne;
  const fetched = (row: number): string => {
    const strand = left.strand(`left${row}`, "k", "end");
    return scale ? `${strand} * scale${row}` : strand;
  };
  return `let strip = group % params.strips;
let item = group / params.strips;
if (item >= params.items) { return; }
${begin}
let lane = lid % ${lanes}u;
let slot = lid / ${lanes}u;
let column = strip * ${lanes}u + lane;
${columns.map((column, c) => `let right${c} = ${right.placeOfOne(column)};`).join("\n")}
${range(rows)
  .map((row) => `let left${row} = ${left.placeOfOne(rowAt(`${row}u`))};`)
  .join("\n")}
${
  scale
    ? range(rows)
        .map((row) => `let scale${row} = ${scale(rowAt(`${row}u`))};`)
        .join("\n")
    : ""
}
${liveRows(rows, rowAt)}
var total = 0.0;
for (var base = 0u; base < end; base += ${slots * BLOCK}u) {
  let start = base + slot * ${BLOCK}u;
  let stop = min(start + ${BLOCK}u, end);
  ${range(sums)
    .map((i) => `var s${i} = 0.0;`)
    .join(" ")}
  for (var k = start; k < stop; k += 4u) {
    ${columns.map((_, c) => `let b${c} = ${right.strand(`right${c}`, "k", "end")};`).join("\n    ")}
    ${range(rows)
      .map(
        (row) =>
          `if (live${row}) { let a = ${fetched(row)}; ${QUAD.map((k) => columns.map((_, c) => `${sum(row, c)} = fma(a[${k}], b${c}[${k}], ${sum(row, c)});`).join(" ")).join(" ")} }`,
      )
      .join("\n    ")}
  }
  ${range(sums)
    .map((i) => `partials[(${i * slots}u + slot) * ${lanes}u + lane] = s${i};`)
    .join(" ")}
  workgroupBarrier();
  if (slot < ${sums}u) {
    for (var i = 0u; i < ${slots}u && base + i * ${BLOCK}u < end; i++) {
      total += partials[(slot * ${slots}u + i) * ${lanes}u + lane];
    }
  }
  workgroupBarrier();
}
${columns.length === 1 ? "let v0 = total;" : exchange(columns.length, sums, lanes)}
if (slot < ${rows}u && column < params.places) {
  let row = ${rowAt("slot")};
  if (row < limit) { ${store} }
}`;
}

/** Brings the sums of one place's columns to one invocation. */
function exchange(columns: number, sums: number, lanes: number): string {
  return `if (slot < ${sums}u) { partials[slot * ${lanes}u + lane] = total; }
workgroupBarrier();
let source = (slot * ${columns}u) % ${sums}u;
let v0 = partials[source * ${lanes}u + lane];
let v1 = partials[(source + 1u) * ${lanes}u + lane];`;
}
