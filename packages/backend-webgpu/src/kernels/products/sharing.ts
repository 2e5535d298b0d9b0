import type { GpuContext } from "../../context.ts";
import { BLOCK } from "./cut.ts";
import type { Factor } from "./factor.ts";
import type { ProductRequest } from "./product.ts";
import { quadPlaces } from "./registers.ts";
import {
  QUAD,
  addQuad,
  carryRows,
  pairSums,
  pairsOfSums,
  range,
  rowsOf,
  storeRows,
} from "./row-texts.ts";

/**
 * Products in registers whose left side is read once for a subgroup: each lane reads a part of it, and
 * hands it to all when it is wanted, since moving a number between lanes is far cheaper than reading
 * it. A workgroup has one tile of rows, whichever of its invocations are a subgroup.
 */
export interface Sharing {
  readonly rows: number;
  /** Lanes of a subgroup. */
  readonly lanes: number;
  /** Invocations of a workgroup. */
  readonly size: number;
}

/** Least invocations of a workgroup: few, so that narrow products leave few idle. */
const SHARING_GROUP = 16;

/** How a product is shared; `undefined` where it cannot be, or it would not pay. */
export function sharingOf(
  { subgroupSize: lanes }: GpuContext,
  { left, right, pairs }: ProductRequest,
  rows: number,
): Sharing | undefined {
  const sharable = left.order === "rows" || right.order === "columns";
  if (!sharable || lanes === 0 || rows === 1 || pairs < lanes) return undefined;
  return { rows, lanes, size: Math.max(lanes, SHARING_GROUP) };
}

/** WGSL of a shared product. The sums are those of `registerText`. */
export function sharingText(request: ProductRequest, sharing: Sharing): string {
  const { left, right } = request;
  const body =
    left.line && right.line
      ? sharedLines(request, sharing, left.line, right.line)
      : sharedRows(request, sharing);
  return `let pair = (group % params.strips) * ${sharing.size}u + lid;
let tile = group / params.strips;
if (tile >= params.tiles) { return; }
${request.begin}
${body}`;
}

/**
 * Each lane reads other rows. The pair's quads are taken one after the other: that keeps the number of
 * lines small that are read at a time, and the text short.
 */
function sharedRows(request: ProductRequest, { rows, lanes }: Sharing): string {
  const { left, right, columns, carried } = request;
  const [first, second] = columns("pair");
  const rowAt = rowsOf(request);
  const numbers = range(rows);
  const scale = left.scaleOfOne;
  const reads = range(Math.ceil(rows / lanes));
  const places = reads.map((q) => {
    const number = lanes > rows ? `(lane % ${rows}u)` : `(lane + ${q * lanes}u)`;
    const row = rowAt(number);
    return `let mine${q} = ${left.placeOfOne(row)}; ${scale ? `let scale${q} = ${scale(row)};` : ""}`;
  });
  const fetched = reads.map((q) => {
    const strand = left.strand(`mine${q}`, "k", "end");
    return `let read${q} = ${scale ? `${strand} * scale${q}` : strand};`;
  });
  const products = numbers.map((i) => {
    const given = `subgroupShuffle(read${Math.floor(i / lanes)}, ${i % lanes}u)`;
    const sums = QUAD.map((k) => `s${i} = fma(vec4<f32>(a[${k}]), b[${k}], s${i});`);
    return `{ let a = ${given}; ${sums.join(" ")} }`;
  });
  const carry = numbers.map((i) => {
    const row = rowAt(`${i}u`);
    return carried ? `if (${row} < limit) { t${i} = ${carried(row, "quadColumn")}; }` : "";
  });
  return `${places.join("\n")}
${numbers.map((i) => `var t${i} = vec4<f32>(); var u${i} = vec4<f32>();`).join(" ")}
for (var quad = 0u; quad < 2u; quad++) {
  ${numbers.map((i) => `u${i} = t${i}; t${i} = vec4<f32>();`).join(" ")}
  let quadColumn = select(${first}, ${second}, quad == 1u);
  let place = ${right.placeOfFour("quadColumn")};
  ${carry.join("\n  ")}
  for (var block = 0u; block < end; block += ${BLOCK}u) {
    ${numbers.map((i) => `var s${i} = vec4<f32>();`).join(" ")}
    let stop = min(block + ${BLOCK}u, end);
    for (var k = block; k < stop; k += 4u) {
      ${fetched.join("\n      ")}
      let b = ${right.block("place", "k", "end")};
      ${products.join("\n      ")}
    }
    ${numbers.map((i) => `t${i} += s${i};`).join(" ")}
  }
}
if (pair >= params.pairs) { return; }
${storeRows(request, rows, rowAt, (i) => [`u${i}`, `t${i}`])}`;
}

type LineText = NonNullable<Factor["line"]>;

/** Each lane reads the line of another k. */
function sharedLines(
  request: ProductRequest,
  { rows, lanes }: Sharing,
  leftLine: LineText,
  rightLine: LineText,
): string {
  const { right, columns } = request;
  const [first, second] = columns("pair");
  const { declare, clear, close } = pairsOfSums(rows);
  const quads = range(rows / 4);
  return `${quadPlaces(request, rows)}
let place0 = ${right.placeOfFour(first)};
let place1 = ${right.placeOfFour(second)};
${declare}
${carryRows(request, rows, rowsOf(request))}
for (var block = 0u; block < end; block += ${BLOCK}u) {
  ${clear}
  let stop = min(block + ${BLOCK}u, end);
  for (var step = block; step < stop; step += ${lanes}u) {
    let mine = min(step + lane, stop - 1u);
    ${quads.map((q) => `let read${q} = ${leftLine(`left${q}`, "mine")};`).join("\n    ")}
    let most = min(step + ${lanes}u, stop);
    for (var k = step; k < most; k++) {
      let b = ${rightLine("place0", "k")};
      let c = ${rightLine("place1", "k")};
      ${quads.map((q) => addQuad(q, `subgroupShuffle(read${q}, k - step)`)).join("\n      ")}
    }
  }
  ${close}
}
if (pair >= params.pairs) { return; }
${storeRows(request, rows, rowsOf(request), pairSums)}`;
}
