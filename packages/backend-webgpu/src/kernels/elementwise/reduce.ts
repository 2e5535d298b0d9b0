import {
  type DType,
  type ReduceAttributes,
  type ReduceKind,
  type Shape,
  sizeOf,
} from "@moiety/core";
import type { Input, Kernel, KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { read, u32, write } from "../../program.ts";
import { copyWhole } from "../layout/copy.ts";
import { gatherStrided } from "../layout/gather.ts";
import { fillWords } from "./creation.ts";
import { type WordType, wordType } from "./map.ts";
import { orderText } from "./order.ts";
import { runsOf, viewOf } from "./windows.ts";

/** Elements of one sum before it goes into the next: accuracy of blocks, and work to share out. */
const BLOCK = 64;
/** A reduction of at most so many elements is never shared out. */
const SHORT = 256;

/** What is reduced: the middle axis of three. */
interface Columns {
  readonly handle: GpuHandle;
  readonly outer: number;
  readonly length: number;
  readonly inner: number;
}

/**
 * `reduce`. A sum is a tree whose shape depends on its length alone: blocks of 64 elements are added
 * in order, blocks of 64 of those sums in order, and so on. However the tree is shared out among
 * invocations and dispatches, its values are the same.
 */
export const reduce: Kernel = (call) => {
  const { kind, axes } = call.attributes<ReduceAttributes>();
  const x = call.input(0);
  const y = call.make(0);
  if (call.outputSize(0) === 0) return [y];
  if (x.size === 0) {
    fillWords(call, y, 0);
    return [y];
  }
  const columns = columnsOf(call, x, axes);
  if (columns.length === 1) copyWhole(call, columns.handle, y);
  else reduceColumns(call, kind, x.dtype, columns, y);
  return [y];
};

/** Reduces the middle axis, in as many dispatches as keep the device busy. */
function reduceColumns(
  call: KernelCall,
  kind: ReduceKind,
  dtype: DType,
  columns: Columns,
  target: GpuHandle,
): void {
  const { outer, length, inner } = columns;
  const { software } = call.context;
  // Hardware reads a row well when neighbours read it together.
  const isBusy = software ? outer * inner >= 256 : inner > 1 && outer * inner >= 16_384;
  const isShort = length <= SHORT || isBusy;
  const whole = isShort && length * inner <= reachOf(call, columns.handle, target);
  const blocks = whole ? 1 : Math.ceil(length / BLOCK);
  const shape = [outer, blocks, inner];
  const partial = whole ? target : call.temporary({ shape, dtype });
  dispatchReduction(call, kind, dtype, columns, whole ? length : BLOCK, partial);
  if (whole) return;
  reduceColumns(call, kind, dtype, { handle: partial, outer, length: blocks, inner }, target);
}

/** Elements that one kernel can certainly see, wherever they begin. */
function reachOf({ context }: KernelCall, x: GpuHandle, y: GpuHandle): number {
  const segments = context.storageBuffers - y.blocks.length;
  if (x.blocks.length <= segments) return Number.POSITIVE_INFINITY;
  return ((segments - 1) * x.segmentBytes) / 4;
}

/** How neighbours are read: four of a row, four columns, or one element at a time. */
type Reading = "row" | "columns" | "element";

function dispatchReduction(
  call: KernelCall,
  kind: ReduceKind,
  dtype: DType,
  { handle, outer, length, inner }: Columns,
  span: number,
  target: GpuHandle,
): void {
  const blocks = Math.ceil(length / span);
  const reading = readingOf(length, inner);
  const type = kind !== "sum" && dtype === "f32" ? "u32" : wordType(dtype);
  const vector = `vec4<${type}>` as const;
  const lanes = reading === "element" ? 1 : 4;
  const width = reading === "columns" ? inner / 4 : inner;
  const rangeOf = (item: number): [number, number] => {
    const first = (item % blocks) * span;
    const row = Math.floor(item / blocks) * length;
    return [(row + first) * inner, (row + Math.min(first + span, length)) * inner];
  };
  const most = call.context.storageBuffers - target.blocks.length;
  for (const run of runsOf(outer * blocks, rangeOf, handle, most)) {
    const view = viewOf(handle, run.start, run.end);
    call.dispatch(
      {
        name: "reduce",
        variant: `${kind} ${dtype} ${reading}`,
        operands: {
          x: read(view.handle, reading === "element" ? type : vector),
          y: write(target, reading === "columns" ? vector : type),
        },
        params: {
          count: u32(run.count * width),
          first: u32(run.first),
          before: u32(view.start / lanes),
          blocks: u32(blocks),
          span: u32(span),
          size: u32(length),
          width: u32(width),
        },
        text: () => ({
          declarations: `alias V = ${reading === "columns" ? vector : type};
${rulesOf(kind, dtype, type, reading === "columns" ? 4 : 1)}`,
          main: reduceText(kind, reading),
        }),
      },
      { invocations: run.count * width },
    );
  }
}

function readingOf(length: number, inner: number): Reading {
  if (inner % 4 === 0) return "columns";
  return inner === 1 && length % 4 === 0 ? "row" : "element";
}

/** WGSL: the value of nothing, what becomes of an element, how two are joined, and the result. */
function rulesOf(kind: ReduceKind, dtype: DType, type: WordType, width: 1 | 4): string {
  if (kind === "sum") return rules("V(0)", "x", "a + b", "a");
  if (dtype === "f32") {
    const order = kind === "max" ? "orderOf(x)" : "select(~orderOf(x), V(0), isNaNBits(x))";
    const back = kind === "max" ? "bitsOfOrder(a)" : "bitsOfOrder(select(~a, V(0), a == V(0)))";
    return `${orderText(width)}\n${rules("V(0)", order, "max(a, b)", back)}`;
  }
  const ends = { i32: ["-0x7fffffff - 1", "0x7fffffff"], u32: ["0u", "0xffffffffu"], f32: [] };
  const start = ends[type][kind === "max" ? 0 : 1] ?? "0";
  return rules(`V(${start})`, "x", `${kind}(a, b)`, "a");
}

function rules(start: string, taken: string, joined: string, result: string): string {
  return `fn start() -> V { return ${start}; }
fn taken(x: V) -> V { return ${taken}; }
fn joined(a: V, b: V) -> V { return ${joined}; }
fn result(a: V) -> V { return ${result}; }`;
}

/** Walks a span of one column in blocks, and keeps the sums of the tree's higher levels apart. */
function reduceText(kind: ReduceKind, reading: Reading): string {
  const levels =
    kind === "sum"
      ? `level1 = joined(level1, block);
      if (((k >> 6u) & 63u) == 63u) {
        level2 = joined(level2, level1);
        level1 = start();
        if (((k >> 12u) & 63u) == 63u) {
          level3 = joined(level3, level2);
          level2 = start();
          if (((k >> 18u) & 63u) == 63u) {
            level4 = joined(level4, level3);
            level3 = start();
          }
        }
      }`
      : "level1 = joined(level1, block);";
  return `if (index >= params.count) { return; }
    let column = index % params.width;
    let item = params.first + index / params.width;
    let block = item % params.blocks;
    let row = item / params.blocks;
    let first = block * params.span;
    let last = min(first + params.span, params.size);
    var level1 = start();
    var level2 = start();
    var level3 = start();
    var level4 = start();
    for (var k = first; k < last; k += 64u) {
      let stop = min(k + 64u, last);
      var block = start();
      ${blockText(reading)}
      ${levels}
    }
    store_y(item * params.width + column, result(joined(level4, joined(level3, joined(level2, level1)))));`;
}

function blockText(reading: Reading): string {
  if (reading !== "row") {
    return `var at = (row * params.size + k) * params.width + column - params.before;
      for (var i = k; i < stop; i++) {
        block = joined(block, taken(load_x(at)));
        at += params.width;
      }`;
  }
  return `var at = (row * params.size + k) / 4u - params.before;
      for (var i = k; i < stop; i += 4u) {
        let x = load_x(at);
        block = joined(block, taken(x.x));
        block = joined(block, taken(x.y));
        block = joined(block, taken(x.z));
        block = joined(block, taken(x.w));
        at++;
      }`;
}

/** The reduced axes as the middle one of three; where they are scattered they are moved to the end. */
function columnsOf(call: KernelCall, x: Input, axes: readonly number[]): Columns {
  const { shape } = x;
  const reduced = axes.filter((axis) => shape[axis] !== 1);
  const [first = 0, last = -1] = [reduced[0], reduced.at(-1)];
  const between = shape.slice(first, last + 1).filter((size) => size !== 1).length;
  if (between === reduced.length) {
    return {
      handle: x.handle,
      outer: sizeOf(shape.slice(0, first)),
      length: sizeOf(shape.slice(first, last + 1)),
      inner: sizeOf(shape.slice(last + 1)),
    };
  }
  const kept = shape.map((_, axis) => axis).filter((axis) => !reduced.includes(axis));
  return movedToEnd(call, x, kept, reduced);
}

function movedToEnd(
  call: KernelCall,
  { handle, shape, dtype }: Input,
  kept: readonly number[],
  reduced: readonly number[],
): Columns {
  const permutation = [...kept, ...reduced];
  const sizes: Shape = permutation.map((axis) => shape[axis] ?? 1);
  const strides = permutation.map((axis) => sizeOf(shape.slice(axis + 1)));
  const moved = call.temporary({ shape: sizes, dtype });
  gatherStrided(call, { handle, dtype, strides, offset: 0 }, sizes, moved);
  const length = sizeOf(sizes.slice(kept.length));
  return { handle: moved, outer: sizeOf(sizes) / length, length, inner: 1 };
}
