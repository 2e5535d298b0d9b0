import type { ProductRequest } from "./product.ts";

/** Numbers in a vector. */
export const QUAD: readonly number[] = [0, 1, 2, 3];

/** The whole numbers below `count`. */
export function range(count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => index);
}

/** WGSL: a row of a tile by its number in it. */
export type RowText = (number: string) => string;

/** WGSL: the rows of a tile that follow each other, unless it says itself which they are. */
export function rowsOf({ rowAt }: { readonly rowAt?: RowText | undefined }): RowText {
  return rowAt ?? ((number) => `(first + ${number})`);
}

/** WGSL, `liveN`: whether there is row N of a tile. */
export function liveRows(rows: number, rowAt: RowText): string {
  return range(rows)
    .map((row) => `let live${row} = ${rowAt(`${row}u`)} < limit;`)
    .join(" ");
}

/** WGSL: the sums of a row's two quads. */
export type SumsText = (row: number) => readonly [first: string, second: string];

/** Sums of the blocks: `t` with twice the row's number, and one more. */
export const pairSums: SumsText = (row) => [`t${2 * row}`, `t${2 * row + 1}`];

/** WGSL for the sums of a block (`s`) and of the blocks before it (`t`), two quads a row. */
export function pairsOfSums(rows: number): {
  readonly declare: string;
  readonly clear: string;
  readonly close: string;
} {
  const all = range(rows * 2);
  return {
    declare: all.map((i) => `var t${i} = vec4<f32>(); var s${i} = vec4<f32>();`).join(" "),
    clear: all.map((i) => `s${i} = vec4<f32>();`).join(" "),
    close: all.map((i) => `t${i} += s${i};`).join(" "),
  };
}

/** Adds the products of one k to a row's block: its value `a`, column quads `b` and `c`. */
export function addPair(row: number, a: string, b: string, c: string): string {
  const [s0, s1] = [`s${2 * row}`, `s${2 * row + 1}`];
  return `${s0} = fma(vec4<f32>(${a}), ${b}, ${s0}); ${s1} = fma(vec4<f32>(${a}), ${c}, ${s1});`;
}

/** The products of one k with a quad of rows, whose values are `values`. */
export function addQuad(quad: number, values: string): string {
  const products = QUAD.map((i) => addPair(4 * quad + i, `a[${i}]`, "b", "c"));
  return `{ let a = ${values}; ${products.join(" ")} }`;
}

/** Takes up the sums that an earlier dispatch stored. */
export function carryRows(request: ProductRequest, rows: number, rowAt: RowText): string {
  const { carried, columns } = request;
  if (!carried) return "";
  return range(rows)
    .map((i) => {
      const row = rowAt(`${i}u`);
      const quads = columns("pair").map((column, q) => `t${2 * i + q} = ${carried(row, column)};`);
      return `if (${row} < limit) { ${quads.join(" ")} }`;
    })
    .join("\n");
}

/**
 * Stores the rows that there are. In a loop, since what is stored may take long to compute: its text
 * stands once, and compilers that gain by it unroll so short a loop by themselves.
 */
export function storeRows(
  request: ProductRequest,
  rows: number,
  rowAt: RowText,
  sums: SumsText,
): string {
  const store = (number: string, pick: string): string => `let row = ${rowAt(number)};
  if (row < limit) {
    ${pick}
    ${request.store}
  }`;
  const [first, second] = sums(0);
  if (rows === 1) return `{ ${store("0u", `let v0 = ${first}; let v1 = ${second};`)} }`;
  const cases = range(rows - 1).map((i) => {
    const [v0, v1] = sums(i + 1);
    return `case ${i + 1}u: { v0 = ${v0}; v1 = ${v1}; }`;
  });
  const pick = `var v0 = ${first}; var v1 = ${second};
    switch (number) { ${cases.join(" ")} default: {} }`;
  return `for (var number = 0u; number < ${rows}u; number++) {
  ${store("number", pick)}
}`;
}
