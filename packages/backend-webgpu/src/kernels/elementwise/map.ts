import { type DType, type Shape, sizeOf, stridesOf } from "@moiety/core";
import type { KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { type Operand, type Param, read, u32, write } from "../../program.ts";
import { axisParams, coordinateLines } from "./coordinates.ts";
import { type Grid, gridOf } from "./grid.ts";
import { viewOf, windowsOf } from "./windows.ts";

/** How the elements of a tensor of a 32-bit dtype are taken. */
export type WordType = "f32" | "i32" | "u32";

/** A tensor as it is read along the output's shape. */
export interface TensorSource {
  readonly handle: GpuHandle;
  readonly type: WordType;
  /** One for each axis of the output, in elements; 0 where an element is repeated. */
  readonly strides: readonly number[];
  /** Number of the first element. */
  readonly offset?: number | undefined;
}

/** What an output element is computed from: an element of a tensor, or one number for all. */
export type Source = TensorSource | Param;

/** Computes each element of an output from an element of each source. */
export interface MapRequest {
  /** Names the computation, with everything on which its text depends. */
  readonly name: string;
  readonly shape: Shape;
  /** Type of `value`'s components. */
  readonly type: WordType;
  /** At most three; `value` knows them by their names. */
  readonly sources: Readonly<Record<string, Source>>;
  readonly declarations?: (() => string) | undefined;
  /** WGSL expression of four elements, a `vec4`, from those of the sources. */
  readonly value: string;
}

/** The type as which kernels take a dtype of 32 bits. */
export function wordType(dtype: DType): WordType {
  return dtype === "f32" || dtype === "i32" ? dtype : "u32";
}

/** Reads a tensor in its own order. */
export function inOrder(handle: GpuHandle, type: WordType, shape: Shape): TensorSource {
  return { handle, type, strides: stridesOf(shape) };
}

type Vector = "vec4<f32>" | "vec4<i32>" | "vec4<u32>";
const VECTORS: Readonly<Record<WordType, Vector>> = {
  f32: "vec4<f32>",
  i32: "vec4<i32>",
  u32: "vec4<u32>",
};

/**
 * How four neighbours of the output find their elements: `linear` in the same order; `repeated` all
 * one element; `run` as four neighbours and `splat` as one element, at a place that is computed once;
 * `lanes` each at its own place.
 */
type Mode = "number" | "linear" | "repeated" | "run" | "splat" | "lanes";

interface PlannedSource {
  readonly name: string;
  readonly source: Source;
  readonly mode: Mode;
  /** Along the grid, in elements, as the offset. */
  readonly strides: readonly number[];
  readonly offset: number;
}

/**
 * Runs a computation over a shape, four elements an invocation. Sources that are walked in order are
 * cut at their segments together with the output; of the others the segments that are needed are bound.
 */
export function mapElements(call: KernelCall, target: GpuHandle, request: MapRequest): void {
  const count = sizeOf(request.shape);
  const { grid, planned } = planOf(request);
  const vectors = grid.sizes.map((size, axis) =>
    axis === grid.sizes.length - 1 ? size / 4 : size,
  );
  const laned = planned.some(({ mode }) => mode === "lanes");
  const sizes = laned ? grid.sizes : vectors;
  const rank = planned.some(({ mode }) => isPlacedMode(mode)) ? sizes.length : 0;
  const walked = planned.flatMap(({ source, mode }) =>
    mode === "linear" && "handle" in source ? [source.handle] : [],
  );
  const tensors = [target, ...walked].map((handle) => ({ handle, bytes: 4 }));
  const variant = `${request.name}/${planned.map(({ mode }) => mode).join(",")}/${rank}`;

  for (const { start, count: size, segments } of windowsOf(count, tensors)) {
    const invocations = Math.ceil(size / 4);
    const operands: Record<string, Operand> = {};
    const params: Record<string, Param> = {
      count: u32(invocations),
      base: u32(start / 4),
      ...(rank > 0 ? axisParams("size", sizes) : {}),
    };
    let used = 0;
    for (const plan of planned) {
      const { name, source, mode } = plan;
      if (!("handle" in source)) {
        params[name] = source;
      } else if (mode === "linear") {
        operands[name] = read(source.handle, VECTORS[source.type], segments[++used]);
      } else {
        const [first, end] = reachOf(plan, grid.sizes, start, start + size);
        const view = viewOf(source.handle, first, end);
        const isVector = mode === "run";
        operands[name] = read(view.handle, isVector ? VECTORS[source.type] : source.type);
        // Where a view begins inside the tensor this may be below 0, and wraps back when it is used.
        params[`${name}_offset`] = u32((plan.offset - view.start) / (isVector ? 4 : 1));
        if (rank > 0) Object.assign(params, axisParams(`${name}_stride`, stepsOf(plan)));
      }
    }
    operands["y"] = write(target, VECTORS[request.type], segments[0]);
    call.dispatch(
      {
        name: "map",
        variant,
        operands,
        params,
        text: () => ({
          declarations: `${request.declarations?.() ?? ""}\n${placeFunction(planned, rank)}`,
          main: mapText(planned, request.value),
        }),
      },
      { invocations },
    );
  }
}

/** A range of elements that holds all that a source gives to output elements `start … end − 1`. */
function reachOf(
  { strides, offset }: PlannedSource,
  sizes: readonly number[],
  start: number,
  end: number,
): [first: number, end: number] {
  const [outer = 0, ...others] = strides;
  const inner = sizes.slice(1).reduce((product, size) => product * size, 1);
  const across = others.reduce(
    (sum, stride, axis) => sum + ((sizes[axis + 1] ?? 1) - 1) * stride,
    0,
  );
  const first = offset + Math.floor(start / inner) * outer;
  return [first, offset + Math.floor((end - 1) / inner) * outer + across + 1];
}

/** A source's strides in what is loaded: vectors, or elements. */
function stepsOf({ mode, strides }: PlannedSource): readonly number[] {
  if (mode !== "run") return strides;
  return strides.map((stride, axis) => (axis === strides.length - 1 ? 1 : stride / 4));
}

/** Chooses how each source is read. */
function planOf({ shape, sources }: MapRequest): { grid: Grid; planned: PlannedSource[] } {
  const named = Object.entries(sources);
  const read = named.flatMap(([, source]) => ("handle" in source ? [source.strides] : []));
  const grid = gridOf(shape, read);
  const steps = stridesOf(grid.sizes);
  let next = 0;
  const modes = named.map(([name, source]) => {
    if (!("handle" in source)) return { name, source, mode: "number" as const, strides: [] };
    const strides = grid.strides[next++] ?? [];
    const offset = source.offset ?? 0;
    const same = offset === 0 && strides.every((stride, axis) => stride === steps[axis]);
    if (same) return { name, source, mode: "linear" as const, strides };
    const repeated = strides.every((stride) => stride === 0);
    return { name, source, mode: repeated ? ("repeated" as const) : ("lanes" as const), strides };
  });
  const placed = modes.filter(({ mode }) => mode === "lanes");
  const joined =
    (grid.sizes.at(-1) ?? 1) % 4 === 0 &&
    placed.every(({ source, strides }) => "handle" in source && isJoined(source, strides));
  const planned = modes.map(({ name, source, mode, strides }) => {
    const offset = "handle" in source ? (source.offset ?? 0) : 0;
    if (mode !== "lanes" || !joined) return { name, source, mode, strides, offset };
    if (strides.at(-1) === 0) return { name, source, mode: "splat" as const, strides, offset };
    return { name, source, mode: "run" as const, strides, offset };
  });
  return { grid, planned };
}

/** Whether four neighbours along the last axis are one element, or one aligned vector. */
function isJoined({ offset = 0 }: TensorSource, strides: readonly number[]): boolean {
  const inner = strides.at(-1);
  if (inner === 0) return true;
  const outer = strides.slice(0, -1);
  return inner === 1 && offset % 4 === 0 && outer.every((stride) => stride % 4 === 0);
}

function isPlacedMode(mode: Mode): boolean {
  return mode === "run" || mode === "splat" || mode === "lanes";
}

function mapText(planned: readonly PlannedSource[], value: string): string {
  const placed = planned.filter(({ mode }) => isPlacedMode(mode));
  const lines = ["if (index >= params.count) { return; }"];
  if (placed.some(({ mode }) => mode === "lanes")) {
    lines.push("let first = (params.base + index) * 4u;");
    for (let lane = 0; lane < 4; lane++) lines.push(`let at${lane} = place(first + ${lane}u);`);
  } else if (placed.length > 0) {
    lines.push("let at = place(params.base + index);");
  }
  for (const { name, source, mode } of planned) {
    lines.push(`let ${name} = ${loadText(name, VECTORS[source.type], mode)};`);
  }
  lines.push(`store_y(index, ${value});`);
  return lines.join("\n");
}

/** A function that divides an output's number into coordinates and adds up each source's place. */
function placeFunction(planned: readonly PlannedSource[], rank: number): string {
  const placed = planned.filter(({ mode }) => isPlacedMode(mode));
  if (placed.length === 0) return "";
  const lines = ["struct Place {", ...placed.map(({ name }) => `  ${name}: u32,`), "}"];
  lines.push("fn place(number: u32) -> Place {", "var rest = number;", "var at: Place;");
  for (const { name } of placed) lines.push(`at.${name} = params.${name}_offset;`);
  const steps = coordinateLines(rank, (coordinate, axis) =>
    placed.map(({ name }) => `at.${name} += ${coordinate} * params.${name}_stride${axis};`),
  );
  lines.push(...steps, "return at;", "}");
  return lines.join("\n");
}

function loadText(name: string, vector: Vector, mode: Mode): string {
  switch (mode) {
    case "number":
      return `${vector}(params.${name})`;
    case "linear":
      return `load_${name}(index)`;
    case "repeated":
      return `${vector}(load_${name}(params.${name}_offset))`;
    case "run":
      return `load_${name}(at.${name})`;
    case "splat":
      return `${vector}(load_${name}(at.${name}))`;
    case "lanes": {
      const lanes = [0, 1, 2, 3].map((lane) => `load_${name}(at${lane}.${name})`);
      return `${vector}(${lanes.join(", ")})`;
    }
  }
}
