import type { GpuContext } from "../../context.ts";
import type { KernelText } from "../../program.ts";
import type { Factor } from "./factor.ts";
import { liveRows, range, rowsOf } from "./row-texts.ts";
import type { StripRequest } from "./strip.ts";

/** Invocations that walk together where subgroups cannot. */
const WALKERS = 64;
/** Parts into which their numbers are cut to be added up. */
const PARTS = 8;
/** Largest subgroup that makes a workgroup of its own. */
const LARGEST_SUBGROUP = 64;

/** How lanes walk along k. */
export interface Walk {
  /** Invocations that walk together: a workgroup, which is one subgroup where `subgroups` is set. */
  readonly size: number;
  readonly subgroups: boolean;
  /** Places of columns that a workgroup adds up. */
  readonly places: number;
}

/**
 * Whether lanes walk along k: neighbours then read neighbouring weights, but the order of a sum is
 * another one than in tiles. With registers alone what each lane reads of the left side weighs too
 * much where several rows meet a matrix.
 */
export function walks(context: GpuContext, right: Factor, rows: number): boolean {
  if (context.batchInvariant || right.order !== "rows") return false;
  return context.tiling === "workgroup" || (rows === 1 && context.subgroupSize > 0);
}

/** The walk of a product of few rows. */
export function walkOf({ subgroupSize }: GpuContext, { rows, columns }: StripRequest): Walk {
  const subgroups = subgroupSize > 1 && subgroupSize <= LARGEST_SUBGROUP;
  // Sums of an invocation: enough loads under way, but not more sums than registers hold.
  const sums = rows === 1 ? 8 : rows <= 4 ? 4 * rows : 2 * rows;
  const places = Math.max(1, sums / rows / columns("").length);
  return { size: subgroups ? subgroupSize : WALKERS, subgroups, places };
}

/** WGSL of a product of few rows whose sums are cut among the lanes, four k at a time. */
export function walkText(request: StripRequest, walk: Walk): KernelText {
  const { left, right, rows, begin, store } = request;
  const { size, places } = walk;
  const place = `min(strip * ${places}u + `;
  const perPlace = request.columns("").length;
  const columns = range(places).flatMap((p) =>
    request.columns(`${place}${p}u, params.places - 1u)`).map((column) => `(${column})`),
  );
  const rowAt = rowsOf(request);
  const scale = left.scaleOfOne;
  const sum = (row: number, column: number): number => row * columns.length + column;
  const sums = rows * columns.length;
  const lane = walk.subgroups ? "lane" : "lid";
  return {
    declarations: walk.subgroups ? "" : partialsText(sums),
    main: `let strip = group % params.strips;
let item = group / params.strips;
if (item >= params.items) { return; }
${begin}
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
${range(sums)
  .map((i) => `var s${i} = vec4<f32>();`)
  .join(" ")}
for (var k = 4u * ${lane}; k < end; k += ${4 * size}u) {
  ${columns.map((_, c) => `let b${c} = ${right.strand(`right${c}`, "k", "end")};`).join("\n  ")}
  ${range(rows)
    .map((row) => {
      const strand = left.strand(`left${row}`, "k", "end");
      const products = columns.map((_, c) => `s${sum(row, c)} = fma(a, b${c}, s${sum(row, c)});`);
      return `if (live${row}) { let a = ${scale ? `${strand} * scale${row}` : strand}; ${products.join(" ")} }`;
    })
    .join("\n  ")}
}
var totals = array<f32, ${sums}>(${range(sums)
      .map((i) => `(s${i}.x + s${i}.y) + (s${i}.z + s${i}.w)`)
      .join(", ")});
${walk.subgroups ? exchangeText(sums, size) : gatherText(sums)}
for (var o = ${lane}; o < ${rows * places}u; o += ${size}u) {
  let row = ${rowAt(`(o % ${rows}u)`)};
  let column = strip * ${places}u + o / ${rows}u;
  if (row < limit && column < params.places) {
    let source = (o % ${rows}u) * ${columns.length}u + (o / ${rows}u) * ${perPlace}u;
    let v0 = totals[source];
    ${perPlace === 2 ? "let v1 = totals[source + 1u];" : ""}
    ${store}
  }
}`,
  };
}

/** Adds up over the lanes in pairs, then pairs of pairs: all lanes get the same number. */
function exchangeText(sums: number, size: number): string {
  const steps = range(Math.log2(size)).map(
    (step) => `totals[i] += subgroupShuffleXor(totals[i], ${2 ** step}u);`,
  );
  return `for (var i = 0u; i < ${sums}u; i++) { ${steps.join(" ")} }`;
}

function partialsText(sums: number): string {
  return `var<workgroup> partials: array<f32, ${sums * WALKERS}>;
var<workgroup> parts: array<f32, ${sums * PARTS}>;`;
}

/** Adds up through workgroup memory: each eighth of the lanes, then the eighths. */
function gatherText(sums: number): string {
  const length = WALKERS / PARTS;
  return `for (var i = 0u; i < ${sums}u; i++) { partials[i * ${WALKERS}u + lid] = totals[i]; }
workgroupBarrier();
for (var part = lid; part < ${sums * PARTS}u; part += ${WALKERS}u) {
  var value = 0.0;
  for (var i = 0u; i < ${length}u; i++) { value += partials[part * ${length}u + i]; }
  parts[part] = value;
}
workgroupBarrier();
for (var i = 0u; i < ${sums}u; i++) {
  var value = 0.0;
  for (var part = 0u; part < ${PARTS}u; part++) { value += parts[i * ${PARTS}u + part]; }
  totals[i] = value;
}`;
}
