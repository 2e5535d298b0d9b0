import type { KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { type Operand, read, u32 } from "../../program.ts";
import { BLOCK } from "../products/cut.ts";
import { type Factor, readsNativeHalves } from "../products/factor.ts";
import { bankFactor, eachWindow } from "../products/grouped-product.ts";
import { rowStore } from "../products/store.ts";
import { EXPERT_OF } from "./assignments.ts";
import { addTerm } from "./combine.ts";
import { biasText, rowFactor, rowParams } from "./parts.ts";
import { type FfnProblem, downBank } from "./problem.ts";

/** Invocations of a workgroup that cuts sums into blocks. */
const SIZE = 256;

/** The down projection and the sum over the choices in one dispatch, each assignment by itself. */
export function combineDown(
  call: KernelCall,
  problem: FfnProblem,
  activations: GpuHandle,
  y: GpuHandle,
): void {
  const { indices, outputWeights, downBias, innerSize, tokens } = problem;
  const bank = downBank(problem);
  const left = rowFactor("act", activations, innerSize);
  const strips = call.context.tiling === "workgroup";
  const right = bankFactor(bank, !strips);
  const store = rowStore("y", y, strips ? 1 : bank.columns);
  const operands: Record<string, Operand> = {
    act: read(activations, left.type),
    indices: read(indices.handle, "i32"),
    factors: read(outputWeights.handle, "f32"),
    y: store.operand,
    ...(downBias && { bias: read(downBias.handle, "f32") }),
  };
  eachWindow(call, bank, operands, right.type, (bound, window) => {
    const parts = { left, right, bias: biasText(downBias !== undefined) };
    const places = strips ? bank.columns : Math.ceil(bank.columns / 4);
    const lanes = innerSize >= 16 * BLOCK ? 16 : 32;
    const groups = Math.ceil(places / lanes);
    call.dispatch(
      {
        name: "moeDownCombine",
        variant: [
          strips ? `strips${lanes}` : "registers",
          left.variant,
          right.variant,
          store.variant,
          downBias ? "bias" : "",
        ].join(";"),
        operands: bound,
        params: {
          ...window,
          ...rowParams(problem),
          places: u32(places),
          strips: u32(groups),
        },
        workgroupSize: strips ? SIZE : 16,
        f16: readsNativeHalves(right),
        text: () => ({
          declarations: `${left.declarations}\n${right.declarations}\n${EXPERT_OF}\n${parts.bias}
${strips ? `var<workgroup> partials: array<f32, ${SIZE}>;` : store.declarations}`,
          main: strips ? stripText(parts, lanes) : registerText(parts),
        }),
      },
      strips ? { groups: tokens * groups } : { invocations: tokens * places },
    );
  });
}

interface Parts {
  readonly left: Factor;
  readonly right: Factor;
}

/** One invocation adds up four columns of a token. */
function registerText({ left, right }: Parts): string {
  return `if (index >= params.tokens * params.places) { return; }
let token = index / params.places;
let column = (index % params.places) * 4u;
var sum = vec4<f32>();
for (var j = 0u; j < params.choices; j++) {
  let a = token * params.choices + j;
  let owner = expert_of(a);
  if (owner >= params.groups) { continue; }
  let end = params.inner;
  let matrix = owner * params.matrix - params.shift;
  let place = ${left.placeOfOne("a")};
  let columns = ${right.placeOfFour("column")};
  var total = vec4<f32>();
  for (var block = 0u; block < end; block += ${BLOCK}u) {
    var s = vec4<f32>();
    let stop = min(block + ${BLOCK}u, end);
    for (var k = block; k < stop; k += 4u) {
      let l = ${left.strand("place", "k", "end")};
      let r = ${right.block("columns", "k", "end")};
      s = fma(vec4<f32>(l.x), r[0], s); s = fma(vec4<f32>(l.y), r[1], s);
      s = fma(vec4<f32>(l.z), r[2], s); s = fma(vec4<f32>(l.w), r[3], s);
    }
    total += s;
  }
  let term = biased(total, owner, column);
  sum = ${addTerm("term", "load_factors(a)", "vec4<f32>")};
}
put_y(token * params.columns, column, params.columns, sum);`;
}

/** A workgroup adds up some columns of a token, each invocation a block of 64. */
function stripText({ left, right }: Parts, lanes: number): string {
  const slots = SIZE / lanes;
  return `let token = group / params.strips;
if (token >= params.tokens) { return; }
let lane = lid % ${lanes}u;
let slot = lid / ${lanes}u;
let column = (group % params.strips) * ${lanes}u + lane;
let end = params.inner;
var sum = 0.0;
for (var j = 0u; j < params.choices; j++) {
  let a = token * params.choices + j;
  let owner = expert_of(a);
  if (owner >= params.groups) { continue; }
  let matrix = owner * params.matrix - params.shift;
  let place = ${left.placeOfOne("a")};
  let columns = ${right.placeOfOne("column")};
  var total = 0.0;
  for (var base = 0u; base < end; base += ${slots * BLOCK}u) {
    let start = base + slot * ${BLOCK}u;
    let stop = min(start + ${BLOCK}u, end);
    var s = 0.0;
    for (var k = start; k < stop; k += 4u) {
      let l = ${left.strand("place", "k", "end")};
      let r = ${right.strand("columns", "k", "end")};
      s = fma(l.x, r.x, s); s = fma(l.y, r.y, s); s = fma(l.z, r.z, s); s = fma(l.w, r.w, s);
    }
    partials[slot * ${lanes}u + lane] = s;
    workgroupBarrier();
    if (slot == 0u) {
      for (var i = 0u; i < ${slots}u && base + i * ${BLOCK}u < end; i++) {
        total += partials[i * ${lanes}u + lane];
      }
    }
    workgroupBarrier();
  }
  let term = biased(vec4<f32>(total), owner, column).x;
  sum = ${addTerm("term", "load_factors(a)", "f32")};
}
if (slot == 0u && column < params.columns) { store_y(token * params.columns + column, sum); }`;
}
