import { type DType, type Shape, bytesPerElement, sizeOf, stridesOf } from "@moiety/core";
import type { KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { read, u32, write } from "../../program.ts";
import { axisParams, coordinateLines } from "../elementwise/coordinates.ts";
import { type Grid, gridOf } from "../elementwise/grid.ts";
import { copyBytes } from "./copy.ts";
import { segmentsOf } from "./segments.ts";

/** A box of a tensor that is written over. */
export interface BoxTarget {
  readonly handle: GpuHandle;
  readonly shape: Shape;
  readonly dtype: DType;
  readonly starts: readonly number[];
}

/** Writes a tensor of any dtype over a box of another, and leaves what lies around it. */
export function writeBox(
  call: KernelCall,
  target: BoxTarget,
  update: GpuHandle,
  sizes: Shape,
): void {
  const count = sizeOf(sizes);
  if (count === 0) return;
  const bytes = bytesPerElement(target.dtype);
  const strides = stridesOf(target.shape);
  const offset = strides.reduce(
    (sum, stride, axis) => sum + stride * (target.starts[axis] ?? 0),
    0,
  );
  const grid = gridOf(sizes, [strides]);
  const isRun = grid.sizes.length === 1 && grid.strides[0]?.[0] === 1;
  if (isRun && (count * bytes) % 4 === 0) {
    const to = { handle: target.handle, offset: offset * bytes };
    if (copyBytes(call, { handle: update, offset: 0 }, to, count * bytes)) return;
  }
  for (const unit of [16, 4] as const) {
    const units = inUnits(grid, offset, unit / bytes);
    if (units) return scatterUnits(call, target.handle, update, units, unit);
  }
  mergeParts(call, target, update, sizes);
}

interface Units {
  readonly sizes: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
}

/** The same walk in larger units, where only whole ones are written. */
function inUnits({ sizes, strides }: Grid, offset: number, elements: number): Units | undefined {
  const [steps = []] = strides;
  if (elements === 1) return { sizes, strides: steps, offset };
  const last = sizes.length - 1;
  const whole =
    steps[last] === 1 &&
    offset % elements === 0 &&
    (sizes[last] ?? 1) % elements === 0 &&
    steps.every((stride, axis) => axis === last || stride % elements === 0);
  if (!whole) return undefined;
  return {
    sizes: sizes.with(last, (sizes[last] ?? 1) / elements),
    strides: steps.map((stride, axis) => (axis === last ? 1 : stride / elements)),
    offset: offset / elements,
  };
}

/** One invocation a unit of the update. Each segment of the target takes what lies in it. */
function scatterUnits(
  call: KernelCall,
  target: GpuHandle,
  update: GpuHandle,
  { sizes, strides, offset }: Units,
  unit: 4 | 16,
): void {
  const count = sizeOf(sizes);
  const type = unit === 16 ? "vec4<u32>" : "u32";
  for (const from of segmentsOf(update, unit)) {
    const here = Math.min(from.length, count - from.start);
    const first = placeOf(from.start, sizes, strides) + offset;
    const last = placeOf(from.start + here - 1, sizes, strides) + offset;
    for (const to of segmentsOf(target, unit)) {
      if (last < to.start || first >= to.start + to.length) continue;
      call.dispatch(
        {
          name: "write box",
          variant: `${unit} ${sizes.length}`,
          operands: { x: read(update, type, from.number), y: write(target, type, to.number) },
          params: {
            count: u32(here),
            first: u32(from.start),
            start: u32(to.start),
            length: u32(to.length),
            offset: u32(offset),
            ...axisParams("size", sizes),
            ...axisParams("stride", strides),
          },
          text: () => ({ main: scatterText(sizes.length) }),
        },
        { invocations: here },
      );
    }
  }
}

/** Where a unit of that number lies; it grows with the number. */
function placeOf(number: number, sizes: readonly number[], strides: readonly number[]): number {
  let [rest, at] = [number, 0];
  for (let axis = sizes.length - 1; axis >= 0; axis--) {
    const size = sizes[axis] ?? 1;
    at += (rest % size) * (strides[axis] ?? 0);
    rest = Math.floor(rest / size);
  }
  return at;
}

function scatterText(rank: number): string {
  const steps = coordinateLines(rank, (coordinate, axis) => [
    `at += ${coordinate} * params.stride${axis};`,
  ]);
  return `if (index >= params.count) { return; }
    var rest = params.first + index;
    var at = params.offset;
    ${steps.join("\n")}
    // Before the segment the difference wraps to a large number.
    let inside = at - params.start;
    if (inside < params.length) { store_y(inside, load_x(index)); }`;
}

/** An axis of the target, and what of it the box takes. */
interface BoxAxis {
  readonly size: number;
  readonly start: number;
  readonly extent: number;
}

/**
 * Where words are shared between the box and what lies around it: one invocation for each word from
 * the first that is touched to the last, so that no two write the same one.
 */
function mergeParts(
  call: KernelCall,
  { handle, shape, dtype, starts }: BoxTarget,
  update: GpuHandle,
  sizes: Shape,
): void {
  const bytes = bytesPerElement(dtype);
  const parts = 4 / bytes;
  const axes = mergedAxes(shape, starts, sizes);
  const strides = stridesOf(axes.map(({ size }) => size));
  const first = axes.reduce((sum, { start }, axis) => sum + start * (strides[axis] ?? 0), 0);
  const last = axes.reduce(
    (sum, { start, extent }, axis) => sum + (start + extent - 1) * (strides[axis] ?? 0),
    0,
  );
  const end = Math.floor(last / parts) + 1;
  for (const to of segmentsOf(handle, 4)) {
    const firstWord = Math.max(Math.floor(first / parts), to.start);
    const count = Math.min(end, to.start + to.length) - firstWord;
    if (count <= 0) continue;
    for (const from of segmentsOf(update, 4)) {
      call.dispatch(
        {
          name: "merge box",
          variant: `${bytes} ${axes.length}`,
          operands: { x: read(update, "u32", from.number), y: write(handle, "u32", to.number) },
          params: {
            count: u32(count),
            first: u32(firstWord),
            local: u32(firstWord - to.start),
            segment_start: u32(from.start),
            segment_length: u32(from.length),
            ...axisParams(
              "size",
              axes.map(({ size }) => size),
            ),
            ...axisParams(
              "start",
              axes.map(({ start }) => start),
            ),
            ...axisParams(
              "extent",
              axes.map(({ extent }) => extent),
            ),
          },
          text: () => ({ main: mergeText(axes.length, bytes) }),
        },
        { invocations: count },
      );
    }
  }
}

function mergeText(rank: number, bytes: number): string {
  const parts = 4 / bytes;
  const bits = 8 * bytes;
  const mask = `${2 ** bits - 1}u`;
  // Before a start the difference wraps to a large number.
  const steps = coordinateLines(rank, (coordinate, axis) => [
    `let d${axis} = ${coordinate} - params.start${axis};`,
    `inside = inside && d${axis} < params.extent${axis};`,
    `at += d${axis} * scale;`,
    `scale *= params.extent${axis};`,
  ]);
  return `if (index >= params.count) { return; }
    var word = load_y(params.local + index);
    for (var part = 0u; part < ${parts}u; part++) {
      var rest = (params.first + index) * ${parts}u + part;
      var at = 0u;
      var scale = 1u;
      var inside = true;
      ${steps.join("\n")}
      let here = at / ${parts}u - params.segment_start;
      if (inside && here < params.segment_length) {
        let element = (load_x(here) >> ((at % ${parts}u) * ${bits}u)) & ${mask};
        word = (word & ~(${mask} << (part * ${bits}u))) | (element << (part * ${bits}u));
      }
    }
    store_y(params.local + index, word);`;
}

/** Joins each axis that the box takes whole to the one before it. */
function mergedAxes(shape: Shape, starts: readonly number[], sizes: Shape): BoxAxis[] {
  const axes: BoxAxis[] = [];
  for (const [axis, size] of shape.entries()) {
    const start = starts[axis] ?? 0;
    const extent = sizes[axis] ?? 1;
    const before = axes.at(-1);
    if (before && start === 0 && extent === size) {
      axes[axes.length - 1] = {
        size: before.size * size,
        start: before.start * size,
        extent: before.extent * size,
      };
    } else axes.push({ size, start, extent });
  }
  return axes.length > 0 ? axes : [{ size: 1, start: 0, extent: 1 }];
}
