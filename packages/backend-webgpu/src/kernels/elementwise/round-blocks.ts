import type { Kernel, KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { type Operand, type Param, read, u32, write } from "../../program.ts";
import { windowsOf } from "./windows.ts";

/** Numbers that share a step. */
const BLOCK = 32;
/** Quads in a block. */
const QUADS = BLOCK / 4;

/** `roundBlocks`. */
export const roundBlocks: Kernel = (call) => {
  const x = call.input(0);
  const y = call.donated(0, 0) ?? call.make(0);
  roundNumbers(call, x.handle, x.size, y);
  return [y];
};

/** Rounds numbers block by block, from one tensor to another or where they are. */
export function roundNumbers(
  call: KernelCall,
  source: GpuHandle,
  size: number,
  target: GpuHandle,
): void {
  const inPlace = source === target;
  for (const window of roundedWindows(size, inPlace ? [target] : [target, source])) {
    const [targetPart, sourcePart] = window.segments;
    roundQuads(call, {
      name: inPlace ? "roundInPlace" : "roundBlocks",
      operands: {
        ...(inPlace ? {} : { x: read(source, "vec4<u32>", sourcePart) }),
        y: write(target, "vec4<u32>", targetPart),
      },
      params: {},
      count: window.count,
      declarations: `fn quad_at(i: u32) -> vec4<u32> { return load_${inPlace ? "y" : "x"}(i); }`,
    });
  }
}

/** Rows `[T, width]` that each choice `[T, k]` of a row multiplies with a factor. */
export interface WeightedRows {
  readonly source: GpuHandle;
  readonly width: number;
  /** `[T, k]`. */
  readonly factors: GpuHandle;
  readonly tokens: number;
  readonly choices: number;
}

/** Rounds the weighted rows of every choice into `target [T·k, width]`. */
export function roundChoices(call: KernelCall, rows: WeightedRows, target: GpuHandle): void {
  const { source, width, factors, tokens, choices } = rows;
  for (const { start, count, segments } of roundedWindows(tokens * choices * width, [target])) {
    roundQuads(call, {
      name: "roundChoices",
      operands: {
        x: read(source, "vec4<f32>"),
        factors: read(factors, "f32"),
        y: write(target, "vec4<u32>", segments[0]),
      },
      params: { first: u32(start / 4), quads: u32(width / 4), choices: u32(choices) },
      count,
      declarations: `fn quad_at(i: u32) -> vec4<u32> {
  let choice = (params.first + i) / params.quads;
  let column = (params.first + i) % params.quads;
  let row = choice / params.choices;
  return bitcast<vec4<u32>>(load_x(row * params.quads + column) * load_factors(choice));
}`,
    });
  }
}

function roundedWindows(size: number, handles: readonly GpuHandle[]): ReturnType<typeof windowsOf> {
  return windowsOf(
    size,
    handles.map((handle) => ({ handle, bytes: 4 })),
  );
}

interface RoundRequest {
  readonly name: string;
  readonly operands: Readonly<Record<string, Operand>>;
  readonly params: Readonly<Record<string, Param>>;
  /** Numbers to be rounded. */
  readonly count: number;
  /** `quad_at(i)`: the bits of the numbers that become quad `i` of the operand `y`. */
  readonly declarations: string;
}

/** Each invocation has a block to itself. */
function roundQuads(call: KernelCall, request: RoundRequest): void {
  const blocks = request.count / BLOCK;
  call.dispatch(
    {
      name: request.name,
      operands: request.operands,
      params: { ...request.params, blocks: u32(blocks) },
      text: () => ({ declarations: `${request.declarations}\n${QUOTIENT}`, main: MAIN }),
    },
    { invocations: blocks },
  );
}

/**
 * A quotient that is off by more than half a unit in its last place, as WGSL allows, may lie on the
 * other side of a tie and round to another step: what is left of the dividend corrects it. That would
 * overflow where the divisor is next to nothing.
 */
const QUOTIENT = `
fn quotient(a: vec4<f32>, b: f32) -> vec4<f32> {
  let near = a / b;
  let rest = fma(-near, vec4<f32>(b), a);
  return select(near, near + rest / b, b > 1e-30);
}`;

/**
 * Largest sizes are compared as bits, among which that of an infinity comes last but NaN, which is no
 * size and stays itself.
 */
const MAIN = `if (index >= params.blocks) { return; }
let base = index * ${QUADS}u;
var most = vec4<u32>();
for (var i = 0u; i < ${QUADS}u; i++) {
  let size = quad_at(base + i) & vec4<u32>(0x7fffffffu);
  most = max(most, select(size, vec4<u32>(0u), size > vec4<u32>(0x7f800000u)));
}
let largest = max(max(most.x, most.y), max(most.z, most.w));
let step = quotient(vec4<f32>(bitcast<f32>(largest)), 127.0).x;
let divisor = select(step, 1.0, step == 0.0);
for (var i = 0u; i < ${QUADS}u; i++) {
  let given = quad_at(base + i);
  let whole = round(quotient(bitcast<vec4<f32>>(given), divisor));
  let lost = (given & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
  let none = lost | vec4<bool>(largest == 0x7f800000u);
  store_y(base + i, select(bitcast<vec4<u32>>(whole * step), vec4<u32>(0x7fc00000u), none));
}`;
