import { BLOCK, type Cut, PAIR } from "./cut.ts";
import type { Factor } from "./factor.ts";
import type { ProductRequest } from "./product.ts";
import { QUAD, addPair, carryRows, pairSums, pairsOfSums, range, storeRows } from "./row-texts.ts";

/** K in a step of the tiles in workgroup memory; divides {@link BLOCK}. */
const STEP = 16;

/** A cut in workgroup memory. */
export type WorkgroupCut = Extract<Cut, { kind: "workgroup" }>;

/** Quads of a tile's side, with one more between two k to spread memory banks. */
function quadsOf(side: number): number {
  return side / 4 + 1;
}

/** WGSL: a tile's two sides in workgroup memory. */
export function workgroupMemory({ rows, columns }: WorkgroupCut): string {
  return `var<workgroup> leftTile: array<vec4<f32>, ${STEP * quadsOf(rows)}>;
var<workgroup> rightTile: array<vec4<f32>, ${STEP * quadsOf(columns)}>;`;
}

/**
 * A tile in workgroup memory. Each invocation brings at most one block of four by four numbers of
 * the left side and a fixed number of the right side while the step before is multiplied.
 */
export function tileText(request: ProductRequest, cut: WorkgroupCut): string {
  const { left, begin } = request;
  const { declare, clear, close } = pairsOfSums(4);
  const { rows, columns } = cut;
  const pairsAcross = columns / PAIR;
  const loads = range(Math.ceil(columns / invocationsOf(cut)));
  const [leftQuads, rightQuads] = [quadsOf(rows), quadsOf(columns)];
  const scale = left.scaleOfFour;
  const rowAt = (number: string): string => `(first + 4u * rowQuad + ${number})`;
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
${declare}
${carryRows(request, 4, rowAt)}
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
      ${QUAD.map((i) => addPair(i, `a[${i}]`, "b", "c")).join("\n      ")}
    }
    if ((next & ${BLOCK - 1}u) == 0u || next >= end) { ${close} ${clear} }
  }
  if (next >= end) { break; }
  workgroupBarrier();
  if (leftUsed) {
    ${QUAD.map((k) => `leftTile[(leftStep + ${k}u) * ${leftQuads}u + leftQuad] = leftBlock[${k}]${times};`).join(" ")}
  }
  ${loads.map((i) => `if (used${i}) { ${QUAD.map((k) => `rightTile[at${i} + ${k * rightQuads}u] = block${i}[${k}];`).join(" ")} }`).join("\n  ")}
  workgroupBarrier();
  next += ${STEP}u;
}
if (pair >= params.pairs) { return; }
${storeRows(request, 4, rowAt, pairSums)}`;
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

/** Invocations of a workgroup. */
export function invocationsOf({ rows, columns }: WorkgroupCut): number {
  return (rows * columns) / (4 * PAIR);
}

/** Which quad of positions and which of the step's k an invocation brings. */
function unitText(side: string, factor: Factor, unit: string, length: number): string {
  // Neighbours read neighbouring numbers: along k in rows, along positions in columns.
  return factor.order === "rows"
    ? `let ${side}Quad = ${unit} / 4u; let ${side}Step = (${unit} % 4u) * 4u;`
    : `let ${side}Quad = ${unit} % ${length / 4}u; let ${side}Step = (${unit} / ${length / 4}u) * 4u;`;
}
