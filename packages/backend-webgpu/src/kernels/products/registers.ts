import { BLOCK } from "./cut.ts";
import type { Factor } from "./factor.ts";
import type { ProductRequest } from "./product.ts";
import {
  QUAD,
  addPair,
  addQuad,
  carryRows,
  pairSums,
  pairsOfSums,
  range,
  rowsOf,
  storeRows,
} from "./row-texts.ts";

/** WGSL of a product in registers: each invocation has a tile of rows and a pair of quads to itself. */
export function registerText(request: ProductRequest, rows: number): string {
  const { right, begin, columns } = request;
  const [first, second] = columns("pair");
  const { declare, clear, close } = pairsOfSums(rows);
  return `let pair = index % params.pairs;
let tile = index / params.pairs;
if (tile >= params.tiles) { return; }
${begin}
${leftPlaces(request, rows)}
let place0 = ${right.placeOfFour(first)};
let place1 = ${right.placeOfFour(second)};
${declare}
${carryRows(request, rows, rowsOf(request))}
for (var block = 0u; block < end; block += ${BLOCK}u) {
  ${clear}
  let stop = min(block + ${BLOCK}u, end);
  ${blockText(request, rows)}
  ${close}
}
${storeRows(request, rows, rowsOf(request), pairSums)}`;
}

/** Where each quad of rows lies. */
export function quadPlaces({ left }: ProductRequest, rows: number): string {
  return range(rows / 4)
    .map((q) => `let left${q} = ${left.placeOfFour(`first + ${4 * q}u`)};`)
    .join("\n");
}

/** Whether rows are read one by one, not four at a time. */
function singly({ left }: ProductRequest, rows: number): boolean {
  return left.order === "rows" || rows === 1;
}

function leftPlaces(request: ProductRequest, rows: number): string {
  const { left } = request;
  if (!singly(request, rows)) return quadPlaces(request, rows);
  return range(rows)
    .map((i) => {
      const row = rowsOf(request)(`${i}u`);
      const scale = left.scaleOfOne ? `let scale${i} = ${left.scaleOfOne(row)};` : "";
      return `let left${i} = ${left.placeOfOne(row)}; ${scale}`;
    })
    .join("\n");
}

/** The products of a block. */
function blockText(request: ProductRequest, rows: number): string {
  const { left, right } = request;
  const fours = `let b = ${right.block("place0", "k", "end")};
    let c = ${right.block("place1", "k", "end")};`;
  if (singly(request, rows)) {
    return `for (var k = block; k < stop; k += 4u) {
    ${fours}
    ${range(rows)
      .map((i) => rowProducts(request, i))
      .join("\n    ")}
  }`;
  }
  if (left.line && right.line) return lineSteps(rows, left.line, right.line);
  const quads = range(rows / 4).map((q) => {
    const sums = QUAD.flatMap((k) =>
      QUAD.map((i) => addPair(4 * q + i, `a[${k}][${i}]`, `b[${k}]`, `c[${k}]`)),
    );
    return `{ let a = ${left.block(`left${q}`, "k", "end")}; ${sums.join("\n")} }`;
  });
  return `for (var k = block; k < stop; k += 4u) {
    ${fours}
    ${quads.join("\n    ")}
  }`;
}

/** The products of four k with a row. */
function rowProducts({ left }: ProductRequest, i: number): string {
  const strand = left.strand(`left${i}`, "k", "end");
  const sums = QUAD.map((k) => addPair(i, `a[${k}]`, `b[${k}]`, `c[${k}]`));
  return `{ let a = ${left.scaleOfOne ? `${strand} * scale${i}` : strand}; ${sums.join(" ")} }`;
}

type LineText = NonNullable<Factor["line"]>;

/** One k at a time, where each is a line on both sides: less text, and nothing lies beyond the end. */
function lineSteps(rows: number, left: LineText, right: LineText): string {
  return `for (var k = block; k < stop; k++) {
    let b = ${right("place0", "k")};
    let c = ${right("place1", "k")};
    ${range(rows / 4)
      .map((q) => addQuad(q, left(`left${q}`, "k")))
      .join("\n    ")}
  }`;
}
