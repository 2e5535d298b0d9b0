import type { KernelCall } from "../../kernel.ts";
import { type Operand, type Param, u32 } from "../../program.ts";
import { BLOCK, type Cut, PAIR } from "./cut.ts";
import { type Factor, readsNativeHalves } from "./factor.ts";

/**
 * A product, tile by tile. The pieces of WGSL see `tile` (number of the tile of rows), `pair`
 * (number of the pair of column quads) and what `begin` declares.
 */
export interface ProductRequest {
  readonly name: string;
  /** What of the pieces the operands' types and the factors do not say. */
  readonly variant: string;
  readonly cut: Cut;
  readonly left: Factor;
  readonly right: Factor;
  /** Operands, those of the factors under the factors' names among them. */
  readonly operands: Readonly<Record<string, Operand>>;
  readonly params: Readonly<Record<string, Param>>;
  /** Tiles of rows. */
  readonly tiles: number;
  /** Pairs of column quads. */
  readonly pairs: number;
  readonly declarations: string;
  /**
   * Declares `first` and `limit` (rows of the tile), `end` (how many k) and whatever else the pieces
   * use; returns where the tile has nothing to do, which must not depend on the invocation.
   */
  readonly begin: string;
  /** The columns at which a pair's two quads begin. */
  readonly columns: (pair: string) => readonly [first: string, second: string];
  /** Statements that store the sums `v0` and `v1` (the pair's quads) of `row`. */
  readonly store: string;
  /**
   * Where the sums go on from those of a dispatch before: their quad of `row` from `column` on.
   * Blocks must not be cut between dispatches.
   */
  readonly carried?: ((row: string, column: string) => string) | undefined;
}

/** K in a step of the tiles in workgroup memory; divides {@link BLOCK}. */
const STEP = 16;
/** Invocations of a workgroup that uses registers only: few, so that small products use all cores. */
const REGISTER_GROUP = 32;

/** Queues a product. */
export function multiply(call: KernelCall, request: ProductRequest): void {
  const { name, cut, left, right, operands, declarations, tiles, pairs } = request;
  const size = cut.kind === "registers" ? `r${cut.rows}` : `w${cut.rows}x${cut.columns}`;
  const strips = cut.kind === "registers" ? pairs : Math.ceil((pairs * PAIR) / cut.columns);
  const workgroupSize = cut.kind === "registers" ? REGISTER_GROUP : invocationsOf(cut);
  const count = tiles * strips;
  call.dispatch(
    {
      name,
      variant: `${size};${left.variant};${right.variant};${request.variant}`,
      operands,
      params: { ...request.params, tiles: u32(tiles), pairs: u32(pairs), strips: u32(strips) },
      workgroupSize,
      f16: readsNativeHalves(right),
      text: () => ({
        declarations: `${left.declarations}\n${right.declarations}\n${declarations}
${cut.kind === "workgroup" ? workgroupMemory(cut) : ""}`,
        main: cut.kind === "registers" ? registerText(request, cut.rows) : tileText(request, cut),
      }),
    },
    cut.kind === "registers" ? { invocations: count } : { groups: count },
  );
}

const KS = [0, 1, 2, 3] as const;

function range(count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => index);
}

/** Sums of a block (`s`) and of the blocks before it (`t`): a row has two quads. */
function sumsOf(rows: number): { declare: string; clear: string; close: string } {
  const all = range(rows * 2);
  return {
    declare: all.map((i) => `var t${i} = vec4<f32>(); var s${i} = vec4<f32>();`).join(" "),
    clear: all.map((i) => `s${i} = vec4<f32>();`).join(" "),
    close: all.map((i) => `t${i} += s${i};`).join(" "),
  };
}

/** Adds the products of one k: row values `a(i)`, column quads `b` and `c`. */
function addProducts(rows: number, a: (row: number) => string, b: string, c: string): string {
  return range(rows)
    .map(
      (i) =>
        `s${2 * i} = fma(vec4<f32>(${a(i)}), ${b}, s${2 * i}); ` +
        `s${2 * i + 1} = fma(vec4<f32>(${a(i)}), ${c}, s${2 * i + 1});`,
    )
    .join("\n");
}

/** Takes up the sums that an earlier dispatch stored. */
function carryRows(request: ProductRequest, rows: number, first: string): string {
  const { carried, columns } = request;
  if (!carried) return "";
  return range(rows)
    .map((i) => {
      const row = `(${first} + ${i}u)`;
      const quads = columns("pair").map((column, q) => `t${2 * i + q} = ${carried(row, column)};`);
      return `if (${row} < limit) { ${quads.join(" ")} }`;
    })
    .join("\n");
}

function storeRows(rows: number, first: string, store: string): string {
  return range(rows)
    .map(
      (i) => `{ let row = ${first} + ${i}u; if (row < limit) {
  let v0 = t${2 * i}; let v1 = t${2 * i + 1};
  ${store}
} }`,
    )
    .join("\n");
}

function registerText(request: ProductRequest, rows: 1 | 4): string {
  const { left, right, begin, columns, store } = request;
  const sums = sumsOf(rows);
  const [first, second] = columns("pair");
  const one = rows === 1;
  const scale = one ? left.scaleOfOne : left.scaleOfFour;
  const place = one ? left.placeOfOne("first") : left.placeOfFour("first");
  return `let pair = index % params.pairs;
let tile = index / params.pairs;
if (tile >= params.tiles) { return; }
${begin}
let place = ${place};
${scale ? `let scale = ${scale("first")};` : ""}
let place0 = ${right.placeOfFour(first)};
let place1 = ${right.placeOfFour(second)};
${sums.declare}
${carryRows(request, rows, "first")}
for (var block = 0u; block < end; block += ${BLOCK}u) {
  ${sums.clear}
  let stop = min(block + ${BLOCK}u, end);
  ${left.line && right.line && !one ? lineSteps(left.line, right.line) : blockSteps(request, rows)}
  ${sums.close}
}
${storeRows(rows, "first", store)}`;
}

/** Four k at a time. */
function blockSteps({ left, right }: ProductRequest, rows: 1 | 4): string {
  const one = rows === 1;
  const scale = one ? left.scaleOfOne : left.scaleOfFour;
  const fetched = one ? left.strand("place", "k", "end") : left.block("place", "k", "end");
  const value = (k: number) => (i: number) => (one ? `a[${k}]` : `a[${k}][${i}]`);
  return `for (var k = block; k < stop; k += 4u) {
    let a = ${scale ? scaledBy(fetched, "scale", one) : fetched};
    let b = ${right.block("place0", "k", "end")};
    let c = ${right.block("place1", "k", "end")};
    ${KS.map((k) => addProducts(rows, value(k), `b[${k}]`, `c[${k}]`)).join("\n")}
  }`;
}

type LineText = (place: string, k: string) => string;

/** One k at a time, where each is a line on both sides: less text, and nothing lies beyond the end. */
function lineSteps(left: LineText, right: LineText): string {
  return `for (var k = block; k < stop; k++) {
    let a = ${left("place", "k")};
    let b = ${right("place0", "k")};
    let c = ${right("place1", "k")};
    ${addProducts(4, (i) => `a[${i}]`, "b", "c")}
  }`;
}

function scaledBy(block: string, scale: string, one: boolean): string {
  // A diagonal matrix from the left multiplies each row; written out, so that no zero is added.
  return one ? `${block} * ${scale}` : `scaled(${block}, ${scale})`;
}

/** Multiplies the positions of a block by their factors. */
export const SCALED = `fn scaled(m: mat4x4<f32>, scale: vec4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(m[0] * scale, m[1] * scale, m[2] * scale, m[3] * scale);
}`;

type WorkgroupCut = Extract<Cut, { kind: "workgroup" }>;

/** Quads of a tile's side, with one more between two k to spread memory banks. */
function quadsOf(side: number): number {
  return side / 4 + 1;
}

function workgroupMemory({ rows, columns }: WorkgroupCut): string {
  return `var<workgroup> leftTile: array<vec4<f32>, ${STEP * quadsOf(rows)}>;
var<workgroup> rightTile: array<vec4<f32>, ${STEP * quadsOf(columns)}>;`;
}

/**
 * A tile in workgroup memory. Each invocation brings at most one block of four by four numbers of
 * the left side and a fixed number of the right side while the step before is multiplied.
 */
function tileText(request: ProductRequest, cut: WorkgroupCut): string {
  const { left, begin, store } = request;
  const { rows, columns } = cut;
  const pairsAcross = columns / PAIR;
  const loads = range(Math.ceil(columns / invocationsOf(cut)));
  const sums = sumsOf(4);
  const [leftQuads, rightQuads] = [quadsOf(rows), quadsOf(columns)];
  const scale = left.scaleOfFour;
  const times = scale ? " * leftScale" : "";
  return `let strip = group % params.strips;
let tile = group / params.strips;
if (tile >= params.tiles) { return; }
${begin}
${unitText("left", left, "lid", rows)}
let leftUsed = lid < ${rows}u;
let leftPlace = ${left.placeOfFour("first + 4u * leftQuad")};
${scale ? `let leftScale = ${scale("first + 4u * leftQuad")};` : ""}
${loads.map((load) => rightPlaceText(request, cut, load)).join("\n")}
let rowQuad = lid / ${pairsAcross}u;
let across = lid % ${pairsAcross}u;
let pair = strip * ${pairsAcross}u + across;
${sums.declare}
${carryRows(request, 4, "(first + 4u * rowQuad)")}
var next = 0u;
loop {
  var leftBlock = mat4x4<f32>();
  if (leftUsed && next + leftStep < end) { leftBlock = ${left.block("leftPlace", "next + leftStep", "end")}; }
  ${loads.map(rightBlockText(request)).join("\n  ")}
  if (next > 0u) {
    for (var k = 0u; k < ${STEP}u; k++) {
      let a = leftTile[k * ${leftQuads}u + rowQuad];
      let b = rightTile[k * ${rightQuads}u + across];
      let c = rightTile[k * ${rightQuads}u + across + ${pairsAcross}u];
      ${addProducts(4, (i) => `a[${i}]`, "b", "c")}
    }
    if ((next & ${BLOCK - 1}u) == 0u || next >= end) { ${sums.close} ${sums.clear} }
  }
  if (next >= end) { break; }
  workgroupBarrier();
  if (leftUsed) {
    ${KS.map((k) => `leftTile[(leftStep + ${k}u) * ${leftQuads}u + leftQuad] = leftBlock[${k}]${times};`).join(" ")}
  }
  ${loads.map((i) => `if (used${i}) { ${KS.map((k) => `rightTile[at${i} + ${k * rightQuads}u] = block${i}[${k}];`).join(" ")} }`).join("\n  ")}
  workgroupBarrier();
  next += ${STEP}u;
}
if (pair >= params.pairs) { return; }
${storeRows(4, "(first + 4u * rowQuad)", store)}`;
}

/** Where an invocation's right blocks lie, in the matrix and in the tile. */
function rightPlaceText({ right, columns }: ProductRequest, cut: WorkgroupCut, i: number): string {
  const size = invocationsOf(cut);
  const across = cut.columns / PAIR;
  const [first, second] = columns("columnPair");
  return `let unit${i} = (lid + ${cut.rows}u) % ${size}u + ${i * size}u;
let used${i} = unit${i} < ${cut.columns}u;
var step${i}: u32; var at${i}: u32; var place${i}: ${right.order === "rows" ? "vec4<u32>" : "u32"};
{
  ${unitText("right", right, `unit${i}`, cut.columns)}
  let columnPair = strip * ${across}u + rightQuad % ${across}u;
  step${i} = rightStep; at${i} = rightStep * ${quadsOf(cut.columns)}u + rightQuad;
  place${i} = ${right.placeOfFour(`select(${first}, ${second}, rightQuad >= ${across}u)`)};
}`;
}

function rightBlockText({ right }: ProductRequest): (load: number) => string {
  return (i) => `var block${i} = mat4x4<f32>();
  if (used${i} && next + step${i} < end) { block${i} = ${right.block(`place${i}`, `next + step${i}`, "end")}; }`;
}

function invocationsOf({ rows, columns }: WorkgroupCut): number {
  return (rows * columns) / (4 * PAIR);
}

/** Which quad of positions and which of the step's k an invocation brings. */
function unitText(side: string, factor: Factor, unit: string, length: number): string {
  // Neighbours read neighbouring numbers: along k in rows, along positions in columns.
  return factor.order === "rows"
    ? `let ${side}Quad = ${unit} / 4u; let ${side}Step = (${unit} % 4u) * 4u;`
    : `let ${side}Quad = ${unit} % ${length / 4}u; let ${side}Step = (${unit} / ${length / 4}u) * 4u;`;
}
