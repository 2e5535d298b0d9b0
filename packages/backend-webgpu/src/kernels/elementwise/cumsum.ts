import { type CumsumAttributes, type DType, sizeOf } from "@moiety/core";
import type { Kernel, KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { read, u32, write } from "../../program.ts";
import { type WordType, wordType } from "./map.ts";
import { runsOf, viewOf } from "./windows.ts";

/** Elements that are added one after the other before their sum goes into the next level. */
const BLOCK = 64;
/** An axis of at most so many elements can be summed in one go, with the values that blocks give. */
const DIRECT = BLOCK * BLOCK;

/** The axis that is summed along: the middle one of three. */
interface Lines {
  readonly outer: number;
  readonly length: number;
  readonly inner: number;
}

/**
 * `cumsum`. Blocks of 64 elements are summed in order, and to each is added what the blocks before
 * it come to, which is a running sum of the same kind: the values depend on the length alone, however
 * the work is shared out.
 */
export const cumsum: Kernel = (call) => {
  const { axis, exclusive = false, reverse = false } = call.attributes<CumsumAttributes>();
  const { handle, shape, dtype } = call.input(0);
  const y = call.make(0);
  const lines = {
    outer: sizeOf(shape.slice(0, axis)),
    length: shape[axis] ?? 1,
    inner: sizeOf(shape.slice(axis + 1)),
  };
  if (sizeOf(shape) > 0) sumAlong(call, handle, y, lines, dtype, exclusive, reverse);
  return [y];
};

function sumAlong(
  call: KernelCall,
  x: GpuHandle,
  y: GpuHandle,
  lines: Lines,
  dtype: DType,
  exclusive: boolean,
  reverse: boolean,
): void {
  const { outer, length, inner } = lines;
  const type = wordType(dtype);
  const step = { type, lines, exclusive, reverse };
  const busy = call.context.software ? 256 : 16_384;
  if (length <= BLOCK || (length <= DIRECT && outer * inner >= busy)) {
    dispatchSums(call, "line", { x, y }, step);
    return;
  }
  const blocks = Math.ceil(length / BLOCK);
  const spec = { shape: [outer, blocks, inner], dtype };
  const sums = call.temporary(spec);
  const before = call.temporary(spec);
  dispatchSums(call, "totals", { x, y: sums }, step);
  sumAlong(call, sums, before, { outer, length: blocks, inner }, dtype, true, false);
  dispatchSums(call, "blocks", { x, before, y }, step);
}

interface Step {
  readonly type: WordType;
  readonly lines: Lines;
  readonly exclusive: boolean;
  readonly reverse: boolean;
}

/** What an invocation does: all of a line, the sum of one block, or the running sums of one block. */
type Part = "line" | "totals" | "blocks";

interface Tensors {
  readonly x: GpuHandle;
  /** What the blocks before each block come to. */
  readonly before?: GpuHandle | undefined;
  readonly y: GpuHandle;
}

function dispatchSums(
  call: KernelCall,
  part: Part,
  { x, before, y }: Tensors,
  { type, lines: { outer, length, inner }, exclusive, reverse }: Step,
): void {
  const blocks = part === "line" ? 1 : Math.ceil(length / BLOCK);
  const span = part === "line" ? length : BLOCK;
  // Blocks are numbered as they lie in memory, which where reversed is not how they are summed.
  const rangeOf = (item: number): [number, number] => {
    const row = Math.floor(item / blocks) * length;
    const block = reverse ? blocks - 1 - (item % blocks) : item % blocks;
    const [first, last] = [block * span, Math.min((block + 1) * span, length)];
    const [start, end] = reverse ? [length - last, length - first] : [first, last];
    return [(row + start) * inner, (row + end) * inner];
  };
  const others = part === "totals" ? y.blocks.length : (before?.blocks.length ?? 0);
  const most = Math.floor((call.context.storageBuffers - others) / (part === "totals" ? 1 : 2));
  for (const run of runsOf(outer * blocks, rangeOf, x, most)) {
    const view = viewOf(x, run.start, run.end);
    const out = part === "totals" ? { handle: y, start: 0 } : viewOf(y, run.start, run.end);
    call.dispatch(
      {
        name: "cumsum",
        variant: `${part} ${exclusive ? "exclusive" : ""} ${reverse ? "reverse" : ""}`,
        operands: {
          x: read(view.handle, type),
          ...(before ? { before: read(before, type) } : {}),
          y: write(out.handle, type),
        },
        params: {
          count: u32(run.count * inner),
          first: u32(run.first),
          hidden: u32(view.start),
          blocks: u32(blocks),
          span: u32(span),
          size: u32(length),
          inner: u32(inner),
        },
        text: () => ({ main: sumText(type, part, exclusive, reverse) }),
      },
      { invocations: run.count * inner },
    );
  }
}

function sumText(type: WordType, part: Part, exclusive: boolean, reverse: boolean): string {
  const place = reverse ? "params.size - 1u - i" : "i";
  const sum = "before + local";
  const stored = exclusive
    ? `store_y(at, ${sum}); local = local + x;`
    : `local = local + x; store_y(at, ${sum});`;
  return `if (index >= params.count) { return; }
    let column = index % params.inner;
    let item = params.first + index / params.inner;
    let block = ${reverse ? "params.blocks - 1u - item % params.blocks" : "item % params.blocks"};
    let row = item / params.blocks;
    let number = (row * params.blocks + block) * params.inner + column;
    let first = block * params.span;
    let last = min(first + params.span, params.size);
    var before = ${part === "blocks" ? "load_before(number)" : `${type}(0)`};
    for (var k = first; k < last; k += 64u) {
      var local = ${type}(0);
      for (var i = k; i < min(k + 64u, last); i++) {
        let at = (row * params.size + ${place}) * params.inner + column - params.hidden;
        let x = load_x(at);
        ${part === "totals" ? "local = local + x;" : stored}
      }
      before = before + local;
    }
    ${part === "totals" ? "store_y(number, before);" : ""}`;
}
