import type { GroupedAttributes } from "@moiety/core";
import type { Kernel, KernelCall, Operand, Result } from "./kernel.ts";
import { Sum, stepOf } from "./sum.ts";

/** The windows of rows that groups have, and the rows of x that they stand for. */
class Groups {
  readonly count: number;
  readonly #offsets: Operand;
  readonly #rowIndex: Operand | undefined;
  readonly #sources: number;

  constructor(offsets: Operand, rowIndex: Operand | undefined, sources: number) {
    this.count = offsets.size - 1;
    this.#offsets = offsets;
    this.#rowIndex = rowIndex;
    this.#sources = sources;
  }

  /** Whether it is certain which rows belong to which group. */
  get certain(): boolean {
    return !this.#offsets.bounds?.some((bound) => bound !== 0);
  }

  start(group: number): number {
    return this.#offsets.value(group);
  }

  end(group: number): number {
    return this.#offsets.value(group + 1);
  }

  /** The group of a row; −1 outside the window. */
  of(row: number): number {
    for (let group = 0; group < this.count; group++) {
      if (row >= this.start(group) && row < this.end(group)) return group;
    }
    return -1;
  }

  /** The row of x that a row stands for; −1 for none. */
  source(row: number): number {
    const source = this.#rowIndex ? this.#rowIndex.value(row) : row;
    return source >= 0 && source < this.#sources ? source : -1;
  }

  /** Whether it is certain which row of x that is. */
  certainSource(row: number): boolean {
    return !this.#rowIndex || this.#rowIndex.bound(row) === 0;
  }
}

function groupsOf(call: KernelCall): Groups {
  return new Groups(call.input(2), call.inputs[3], call.input(0).shape[0] ?? 0);
}

/** Each row times the matrix of its group; rows outside the window are zero. */
export const groupedMatmul: Kernel = (call) => {
  const { transposed } = call.attributes<GroupedAttributes>();
  const x = call.input(0);
  const weights = call.input(1);
  const { shape, dtype } = call.spec(0);
  const [rows = 0, width = 0] = shape;
  const inner = x.shape[1] ?? 0;
  const groups = groupsOf(call);
  const y = call.result();
  const sum = new Sum(call.precision, dtype, stepOf(x) * stepOf(weights));
  for (let row = 0; row < rows; row++) {
    const group = groups.of(row);
    const source = groups.source(row);
    const certain = groups.certain && (group < 0 || groups.certainSource(row));
    const depth = group >= 0 && source >= 0 ? inner : 0;
    for (let column = 0; column < width; column++) {
      sum.reset();
      for (let k = 0; k < depth; k++) {
        const left = source * inner + k;
        const place = transposed ? k * width + column : column * inner + k;
        const right = group * inner * width + place;
        sum.addProduct(x.value(left), x.bound(left), weights.value(right), weights.bound(right));
      }
      y.set(row * width + column, sum.value, certain ? sum.bound : Infinity);
    }
  }
  return [y];
};

/** For each group, the sum over its rows r of dy[r] ⊗ x[row of r]. */
export const groupedMatmulGradWeights: Kernel = (call) => {
  const { transposed } = call.attributes<GroupedAttributes>();
  const x = call.input(0);
  const dy = call.input(1);
  const [inner = 0, width = 0] = [x.shape[1], dy.shape[1]];
  const groups = groupsOf(call);
  const y = call.result();
  const sum = new Sum(call.precision, call.spec(0).dtype, stepOf(x) * stepOf(dy));
  for (let group = 0; group < groups.count; group++) {
    const certain = groups.certain && hasCertainSources(groups, group);
    for (let column = 0; column < width; column++) {
      for (let k = 0; k < inner; k++) {
        sum.reset();
        for (let row = groups.start(group); row < groups.end(group); row++) {
          const source = groups.source(row);
          if (source < 0) continue;
          const [left, right] = [row * width + column, source * inner + k];
          sum.addProduct(dy.value(left), dy.bound(left), x.value(right), x.bound(right));
        }
        const place = transposed ? k * width + column : column * inner + k;
        y.set(group * inner * width + place, sum.value, certain ? sum.bound : Infinity);
      }
    }
  }
  return [y];
};

function hasCertainSources(groups: Groups, group: number): boolean {
  for (let row = groups.start(group); row < groups.end(group); row++) {
    if (!groups.certainSource(row)) return false;
  }
  return true;
}

/** Rows added up by id. */
export const segmentSum: Kernel = (call) => {
  const rows = call.input(0);
  const ids = call.input(1);
  const { shape, dtype } = call.spec(0);
  const y: Result = call.result();
  const segments = shape[0] ?? 0;
  const width = shape.slice(1).reduce((product, size) => product * size, 1);
  const members = Array.from({ length: segments }, (): number[] => []);
  for (let row = 0; row < ids.size; row++) members[ids.value(row)]?.push(row);
  const certain = !ids.bounds?.some((bound) => bound !== 0);
  const sum = new Sum(call.precision, dtype, stepOf(rows));
  for (const [segment, own] of members.entries()) {
    for (let column = 0; column < width; column++) {
      sum.reset();
      for (const row of own) {
        sum.add(rows.value(row * width + column), rows.bound(row * width + column));
      }
      y.set(segment * width + column, sum.value, certain ? sum.bound : Infinity);
    }
  }
  return [y];
};
