import { type CpuBuffer, cpuDriver } from "@moiety/backend-cpu";
import {
  type Attributes,
  type Backend,
  type HostArray,
  type RunCall,
  type Shape,
  type UnaryKind,
  defineBackend,
  hostArray,
  sizeOf,
  stridesOf,
} from "@moiety/core";
import { REAL_FUNCTIONS } from "../functions.ts";
import { HALVES, rounded } from "../half.ts";
import { broadcastPlaces, placesOf } from "../places.ts";

/** How a simulated f32 backend computes. */
export interface Simulation {
  /** Rounds after every product and every addition. */
  readonly accumulate: (value: number) => number;
  /** Leaves out the last term of every product of matrices. */
  readonly dropsLast?: boolean | undefined;
  /** Makes elementary functions as wrong as an honest backend's may be. */
  readonly noise?: boolean | undefined;
}

/** Rounds to f16, for {@link Simulation}. */
export function toF16(value: number): number {
  return rounded(value, HALVES.f16);
}

interface Array32 {
  readonly data: HostArray;
  readonly shape: Shape;
}

/** The oracle in f32, with every sum taken one term after another in the simulated accumulator. */
export function simulatedBackend(simulation: Simulation): Backend {
  const inner = cpuDriver();
  return defineBackend({
    specVersion: 1,
    name: "simulated",
    capabilities: {
      ...inner.capabilities,
      accumulation: { dtype: "f32", order: "serial" },
    },
    allocate: (spec) => inner.allocate(spec),
    write: (handle, offset, bytes) => inner.write(handle, offset, bytes),
    read: (handle, offset, length) => inner.read(handle, offset, length),
    free: (handle) => inner.free(handle),
    sync: () => inner.sync(),
    statistics: () => inner.statistics(),
    dispose: () => inner.dispose(),
    run(call: RunCall<CpuBuffer>) {
      const outputs = inner.run(call);
      const spec = call.outputs[0];
      const [handle] = outputs;
      if (spec?.dtype !== "f32" || handle === undefined) return outputs;
      const view = (buffer: CpuBuffer, shape: Shape, dtype = spec.dtype): HostArray =>
        hostArray(dtype, buffer.block, 0, sizeOf(shape));
      const target = view(handle, spec.shape);
      const summing = SUMS[call.op.name];
      if (summing) {
        const inputs = call.inputs.map(
          (input) =>
            input && {
              data: view(input.handle, input.shape, input.dtype as "f32"),
              shape: input.shape,
            },
        ) as Array32[];
        summing({ inputs, attributes: call.attributes, target, shape: spec.shape, simulation });
      } else if (simulation.noise) {
        disturb(call, target);
      }
      return outputs;
    },
  });
}

interface SumCall {
  readonly inputs: readonly Array32[];
  readonly attributes: Attributes;
  readonly target: HostArray;
  readonly shape: Shape;
  readonly simulation: Simulation;
}

const SUMS: Readonly<Record<string, (call: SumCall) => void>> = {
  matmul: sumMatmul,
  reduce: sumReduce,
  cumsum: sumCumsum,
  segmentSum,
  groupedMatmul: sumGrouped,
  groupedMatmulGradWeights: sumGradWeights,
};

/** Adds `count` products one after another. */
function dot(
  { accumulate, dropsLast }: Simulation,
  count: number,
  product: (k: number) => number,
): number {
  let total = 0;
  for (let k = 0; k < (dropsLast ? count - 1 : count); k++) {
    total = accumulate(total + accumulate(product(k)));
  }
  return total;
}

function sumMatmul({ inputs, attributes, target, shape, simulation }: SumCall): void {
  const [a, b] = inputs as [Array32, Array32];
  const [rows = 0, columns = 0] = shape.slice(-2);
  const depth = a.shape.at(attributes["transposeA"] ? -2 : -1) ?? 0;
  const batch = shape.slice(0, -2);
  const [ofA, ofB] = [a, b].map((x) => broadcastPlaces(x.shape.slice(0, -2), batch)) as [
    Float64Array,
    Float64Array,
  ];
  for (let at = 0; at < target.length; at++) {
    const entry = Math.floor(at / (rows * columns));
    const row = Math.floor(at / columns) % rows;
    const column = at % columns;
    target[at] = dot(simulation, depth, (k) => {
      const left = attributes["transposeA"] ? k * rows + row : row * depth + k;
      const right = attributes["transposeB"] ? column * depth + k : k * columns + column;
      const [x, y] = [(ofA[entry] ?? 0) * rows * depth, (ofB[entry] ?? 0) * depth * columns];
      return (a.data[x + left] ?? 0) * (b.data[y + right] ?? 0);
    });
  }
}

function sumReduce({ inputs, attributes, target, simulation }: SumCall): void {
  if (attributes["kind"] !== "sum") return;
  const [x] = inputs as [Array32];
  const axes = attributes["axes"] as readonly number[];
  const strides = stridesOf(x.shape);
  const sizes = (isReduced: boolean): number[] =>
    x.shape.map((size, axis) => (axes.includes(axis) === isReduced ? size : 1));
  const within = placesOf(sizes(true), strides);
  for (const [at, start] of placesOf(sizes(false), strides).entries()) {
    let total = 0;
    for (const place of within) total = simulation.accumulate(total + (x.data[start + place] ?? 0));
    target[at] = total;
  }
}

function sumCumsum({ inputs, attributes, target, shape, simulation }: SumCall): void {
  const [x] = inputs as [Array32];
  const axis = attributes["axis"] as number;
  const [size, inner] = [shape[axis] ?? 1, sizeOf(shape.slice(axis + 1))];
  // The oracle may have worked in place: its own result is all there is.
  if (x.data.buffer === target.buffer) return;
  for (let lane = 0; lane < target.length / Math.max(size, 1); lane++) {
    const start = Math.floor(lane / inner) * size * inner + (lane % inner);
    let total = 0;
    for (let step = 0; step < size; step++) {
      const at = start + (attributes["reverse"] ? size - 1 - step : step) * inner;
      const before = total;
      total = simulation.accumulate(total + (x.data[at] ?? 0));
      target[at] = attributes["exclusive"] ? before : total;
    }
  }
}

function segmentSum({ inputs, target, shape, simulation }: SumCall): void {
  const [rows, ids] = inputs as [Array32, Array32];
  const width = sizeOf(shape.slice(1));
  target.fill(0);
  for (const [row, id] of ids.data.entries()) {
    if (id < 0 || id >= (shape[0] ?? 0)) continue;
    for (let column = 0; column < width; column++) {
      const at = id * width + column;
      target[at] = simulation.accumulate(
        (target[at] ?? 0) + (rows.data[row * width + column] ?? 0),
      );
    }
  }
}

/** The group of a row, or −1. */
function groupOf(offsets: HostArray, row: number): number {
  for (let group = 0; group + 1 < offsets.length; group++) {
    if (row >= (offsets[group] ?? 0) && row < (offsets[group + 1] ?? 0)) return group;
  }
  return -1;
}

function sumGrouped({ inputs, attributes, target, shape, simulation }: SumCall): void {
  const [x, weights, offsets, index] = inputs as [Array32, Array32, Array32, Array32?];
  const [, width = 0] = shape;
  const [count = 0, inner = 0] = x.shape;
  for (let at = 0; at < target.length; at++) {
    const [row, column] = [Math.floor(at / width), at % width];
    const group = groupOf(offsets.data, row);
    const source = index ? (index.data[row] ?? -1) : row;
    const depth = group < 0 || source < 0 || source >= count ? 0 : inner;
    target[at] = dot(simulation, depth, (k) => {
      const place = attributes["transposed"] ? k * width + column : column * inner + k;
      const weight = weights.data[group * inner * width + place] ?? 0;
      return weight * (x.data[source * inner + k] ?? 0);
    });
  }
}

function sumGradWeights({ inputs, attributes, target, simulation }: SumCall): void {
  const [x, dy, offsets, index] = inputs as [Array32, Array32, Array32, Array32?];
  const [count = 0, inner = 0] = x.shape;
  const width = dy.shape[1] ?? 0;
  for (let at = 0; at < target.length; at++) {
    const group = Math.floor(at / (inner * width));
    const place = at % (inner * width);
    const [column, k] = attributes["transposed"]
      ? [place % width, Math.floor(place / width)]
      : [Math.floor(place / inner), place % inner];
    const start = offsets.data[group] ?? 0;
    target[at] = dot(simulation, (offsets.data[group + 1] ?? 0) - start, (step) => {
      const row = start + step;
      const source = index ? (index.data[row] ?? -1) : row;
      if (source < 0 || source >= count) return 0;
      return (dy.data[row * width + column] ?? 0) * (x.data[source * inner + k] ?? 0);
    });
  }
}

/**
 * Moves results of elementary functions and divisions up and down by what an honest evaluation may
 * be off by, less the two roundings to f32 that are in them already.
 */
function disturb({ op, inputs, attributes }: RunCall<CpuBuffer>, target: HostArray): void {
  const kind = attributes["kind"] as string;
  const [x] = inputs;
  if (x?.dtype !== "f32") return;
  const isFunction = op.name === "unary" && Object.hasOwn(REAL_FUNCTIONS, kind);
  const isDivision = op.name === "binary" && kind === "div";
  if (!isFunction && !isDivision) return;
  const units = isFunction
    ? REAL_FUNCTIONS[kind as Exclude<UnaryKind, "isNaN" | "not">].units
    : (_: number, y: number): number => 5 * Math.abs(y);
  // The oracle may have worked in place; then the arguments are gone.
  if (x.handle.block === target.buffer) return;
  const given = hostArray("f32", x.handle.block, 0, sizeOf(x.shape));
  for (let at = 0; at < target.length; at++) {
    const y = target[at] ?? 0;
    const rest = units(given[at] ?? 0, y) - 2 * Math.abs(y);
    if (y === 0 || !(rest > 0 && rest < Infinity)) continue;
    target[at] = y + ((at % 3) - 1) * 0.98 * rest * 2 ** -24;
  }
}
