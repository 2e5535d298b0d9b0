import type { GpuContext } from "../../context.ts";
import type { GpuHandle } from "../../memory.ts";
import {
  type ElementType,
  type Operand,
  type Param,
  ELEMENT_BYTES,
  read,
  u32,
  write,
} from "../../program.ts";

/** A tensor that a kernel walks row by row. */
export interface RowTensor {
  readonly handle: GpuHandle;
  readonly access: "read" | "write";
  readonly type: ElementType;
  /** Elements in a row. */
  readonly width: number;
}

/** A range of rows with the bindings that it needs. */
export interface RowWindow {
  readonly operands: Readonly<Record<string, Operand>>;
  /** `first` and `rows` (the range), and what the accessors need. */
  readonly params: Readonly<Record<string, Param>>;
  /** WGSL: `get_NAME(i)` and `put_NAME(i, value)`, numbered over the whole tensor. */
  readonly accessors: string;
  readonly rows: number;
}

/**
 * Cuts rows into ranges. One range with everything bound, where the device has room for all segments
 * beside `others` bindings; else ranges that touch at most two neighbouring segments of each tensor.
 */
export function rowWindows(
  context: GpuContext,
  rows: number,
  tensors: Readonly<Record<string, RowTensor>>,
  others = 0,
): RowWindow[] {
  const entries = Object.entries(tensors);
  const blocks = entries.reduce((sum, [, { handle }]) => sum + handle.blocks.length, others);
  const whole = blocks <= context.storageBuffers;
  const windows: RowWindow[] = [];
  for (let first = 0; first < rows;) {
    const end = whole ? rows : Math.min(rows, ...entries.map(([, each]) => reach(each, first)));
    // A row longer than two segments: everything is bound, and the dispatch says what is missing.
    if (end <= first) return [cut(entries, first, rows, true)];
    windows.push(cut(entries, first, end, whole));
    first = end;
  }
  return windows;
}

/** The row up to which two segments reach, the first being that in which a row begins. */
function reach({ handle, type, width }: RowTensor, first: number): number {
  const { blocks } = handle;
  if (width === 0 || blocks.length === 1) return Number.POSITIVE_INFINITY;
  const span = handle.segmentBytes / ELEMENT_BYTES[type];
  const segment = Math.floor((first * width) / span);
  if (segment + 2 >= blocks.length) return Number.POSITIVE_INFINITY;
  return Math.floor(((segment + 2) * span) / width);
}

function cut(
  entries: readonly (readonly [string, RowTensor])[],
  first: number,
  end: number,
  whole: boolean,
): RowWindow {
  const operands: Record<string, Operand> = {};
  const params: Record<string, Param> = { first: u32(first), rows: u32(end - first) };
  let accessors = "";
  for (const [name, tensor] of entries) {
    const { handle, access, type, width } = tensor;
    const bind = access === "read" ? read : write;
    if (whole || handle.blocks.length === 1) {
      operands[name] = bind(handle, type);
      accessors += accessorText(name, type, access);
      continue;
    }
    const span = handle.segmentBytes / ELEMENT_BYTES[type];
    const segment = Math.floor((first * width) / span);
    const two = segment + 1 < handle.blocks.length;
    operands[`${name}_low`] = bind(handle, type, segment);
    if (two) operands[`${name}_high`] = bind(handle, type, segment + 1);
    params[`${name}_base`] = u32(segment * span);
    params[`${name}_span`] = u32(span);
    accessors += windowText(name, type, access, two);
  }
  return { operands, params, accessors, rows: end - first };
}

function accessorText(name: string, type: ElementType, access: "read" | "write"): string {
  const get = `fn get_${name}(i: u32) -> ${type} { return load_${name}(i); }\n`;
  if (access === "read") return get;
  return `${get}fn put_${name}(i: u32, value: ${type}) { store_${name}(i, value); }\n`;
}

function windowText(
  name: string,
  type: ElementType,
  access: "read" | "write",
  two: boolean,
): string {
  const choose = (low: string, high: string): string =>
    `let j = i - params.${name}_base; let span = params.${name}_span;` +
    (two ? ` if (j >= span) { ${high} }` : "") +
    ` ${low}`;
  const get = choose(`return load_${name}_low(j);`, `return load_${name}_high(j - span);`);
  const text = `fn get_${name}(i: u32) -> ${type} { ${get} }\n`;
  if (access === "read") return text;
  const put = choose(
    `store_${name}_low(j, value);`,
    `store_${name}_high(j - span, value); return;`,
  );
  return `${text}fn put_${name}(i: u32, value: ${type}) { ${put} }\n`;
}
