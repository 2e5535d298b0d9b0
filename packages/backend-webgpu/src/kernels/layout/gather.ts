import { type DType, type Shape, bytesPerElement, sizeOf } from "@moiety/core";
import type { KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { read, u32, write } from "../../program.ts";
import { axisParams, coordinateLines } from "../elementwise/coordinates.ts";
import { type Grid, gridOf } from "../elementwise/grid.ts";
import { mapElements } from "../elementwise/map.ts";
import { windowsOf } from "../elementwise/windows.ts";
import { copyBytes } from "./copy.ts";
import { segmentsOf } from "./segments.ts";

/** A tensor that is read with strides. */
export interface StridedSource {
  readonly handle: GpuHandle;
  readonly dtype: DType;
  /** In elements, one for each axis of what is read; 0 where an element is repeated. */
  readonly strides: readonly number[];
  /** Number of the first element. */
  readonly offset: number;
}

/** Fills a tensor of any dtype, in order, from elements that lie at strides in another. */
export function gatherStrided(
  call: KernelCall,
  source: StridedSource,
  shape: Shape,
  target: GpuHandle,
): void {
  const count = sizeOf(shape);
  if (count === 0) return;
  const { handle, offset } = source;
  const bytes = bytesPerElement(source.dtype);
  const grid = gridOf(shape, [source.strides]);
  if (isRun(grid)) {
    const from = { handle, offset: offset * bytes };
    if (copyBytes(call, from, { handle: target, offset: 0 }, count * bytes)) return;
  }
  const words = asWords(grid, offset, 4 / bytes);
  if (words && handle.blocks.length < call.context.storageBuffers) {
    mapElements(call, target, {
      name: "copy",
      shape: words.grid.sizes,
      type: "u32",
      sources: { x: { handle, type: "u32", strides: words.strides, offset: words.offset } },
      value: "x",
    });
    return;
  }
  gatherParts(call, source, grid, target, count);
}

/** Whether the elements follow one another. */
function isRun({ sizes, strides }: Grid): boolean {
  return sizes.length === 1 && strides[0]?.[0] === 1;
}

interface WordGrid {
  readonly grid: Grid;
  readonly strides: readonly number[];
  readonly offset: number;
}

/** The same walk in words of four bytes, where whole words are moved. */
function asWords(grid: Grid, offset: number, parts: number): WordGrid | undefined {
  const strides = grid.strides[0] ?? [];
  if (parts === 1) return { grid, strides, offset };
  const last = grid.sizes.length - 1;
  const outer = strides.slice(0, -1);
  const whole =
    strides[last] === 1 &&
    offset % parts === 0 &&
    outer.every((stride) => stride % parts === 0) &&
    (last === 0 || (grid.sizes[last] ?? 1) % parts === 0);
  if (!whole) return undefined;
  const sizes = grid.sizes.with(last, Math.ceil((grid.sizes[last] ?? 1) / parts));
  const inWords = strides.map((stride, axis) => (axis === last ? 1 : stride / parts));
  return { grid: { sizes, strides: [inWords] }, strides: inWords, offset: offset / parts };
}

/**
 * Puts each word of the target together from elements, in one dispatch for each segment of the
 * source.
 */
function gatherParts(
  call: KernelCall,
  { handle, dtype, offset }: StridedSource,
  { sizes, strides }: Grid,
  target: GpuHandle,
  count: number,
): void {
  const bytes = bytesPerElement(dtype);
  const parts = 4 / bytes;
  for (const window of windowsOf(count, [{ handle: target, bytes }])) {
    const words = Math.ceil(window.count / parts);
    for (const segment of segmentsOf(handle, 4)) {
      call.dispatch(
        {
          name: "gather parts",
          variant: `${bytes} ${sizes.length}`,
          operands: {
            x: read(handle, "u32", segment.number),
            y: write(target, "u32", window.segments[0]),
          },
          params: {
            count: u32(words),
            first: u32(window.start),
            offset: u32(offset),
            segment_start: u32(segment.start),
            segment_length: u32(segment.length),
            ...axisParams("size", sizes),
            ...axisParams("stride", strides[0] ?? []),
          },
          text: () => ({
            declarations: placeText(sizes.length),
            main: partsText(bytes),
          }),
        },
        { invocations: words },
      );
    }
  }
}

function partsText(bytes: number): string {
  const parts = 4 / bytes;
  const bits = 8 * bytes;
  const mask = `${2 ** bits - 1}u`;
  return `if (index >= params.count) { return; }
    var word = load_y(index);
    for (var part = 0u; part < ${parts}u; part++) {
      let at = place(params.first + index * ${parts}u + part);
      // Before the segment the difference wraps to a large number.
      let inside = at / ${parts}u - params.segment_start;
      if (inside < params.segment_length) {
        let element = (load_x(inside) >> ((at % ${parts}u) * ${bits}u)) & ${mask};
        word = (word & ~(${mask} << (part * ${bits}u))) | (element << (part * ${bits}u));
      }
    }
    store_y(index, word);`;
}

/** WGSL `place(number)`: where the source's element of that number lies. */
function placeText(rank: number): string {
  const steps = coordinateLines(rank, (coordinate, axis) => [
    `at += ${coordinate} * params.stride${axis};`,
  ]);
  const lines = ["fn place(number: u32) -> u32 {", "var rest = number;", "var at = params.offset;"];
  return [...lines, ...steps, "return at;", "}"].join("\n");
}
