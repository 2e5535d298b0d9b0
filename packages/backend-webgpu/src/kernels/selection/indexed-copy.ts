import type { DType } from "@moiety/core";
import type { Input, KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { type Operand, type Param, ELEMENT_BYTES, read, u32, write } from "../../program.ts";

/** Bytes of an element of each dtype that the device has. */
export function bytesOf(dtype: DType): 1 | 2 | 4 {
  if (dtype === "u8") return 1;
  return dtype === "f16" || dtype === "bf16" ? 2 : 4;
}

/** What is moved together: a word, four of them, or one of several elements in a word. */
export interface Unit {
  readonly type: "u32" | "vec4<u32>";
  /** Elements that share a word; 1 where whole words are moved. */
  readonly lanes: 1 | 2 | 4;
}

/** An output of which each unit is a copy of a unit of a source, or zero. */
export interface IndexedCopy {
  readonly name: string;
  readonly unit: Unit;
  /** Units of the output. */
  readonly count: number;
  readonly source: GpuHandle;
  readonly target: GpuHandle;
  readonly ids: Input;
  readonly params: Readonly<Record<string, Param>>;
  /**
   * WGSL: `fn source_of(unit: u32) -> u32`, the source's unit for each of the output's, or `NONE`;
   * reads `load_ids(i)`.
   */
  readonly sourceOf: string;
}

/**
 * Runs a copy in one dispatch where all segments fit the device's bindings, else one for each pair of
 * a segment of the output and one of the source: each adds the bits that its source has.
 */
export function copyIndexed(call: KernelCall, copy: IndexedCopy): void {
  const { unit, source, target, ids } = copy;
  const bindings = source.blocks.length + target.blocks.length + ids.handle.blocks.length;
  if (bindings <= call.context.storageBuffers) {
    dispatch(call, copy, undefined);
    return;
  }
  const span = target.segmentBytes / ELEMENT_BYTES[unit.type];
  const words = Math.ceil(copy.count / unit.lanes);
  for (let to = 0; to * span < words; to++) {
    for (let from = 0; from < source.blocks.length; from++) dispatch(call, copy, { to, from });
  }
}

interface Window {
  readonly to: number;
  readonly from: number;
}

function dispatch(call: KernelCall, copy: IndexedCopy, window: Window | undefined): void {
  const { name, unit, count, source, target, ids } = copy;
  const bytes = ELEMENT_BYTES[unit.type];
  const span = target.segmentBytes / bytes;
  const words = Math.ceil(count / unit.lanes);
  const first = (window?.to ?? 0) * span;
  const part = window ? Math.min(span, words - first) : words;
  const operands: Record<string, Operand> = {
    x: read(source, unit.type, window?.from),
    ids: read(ids.handle, "i32"),
    y: write(target, unit.type, window?.to),
  };
  call.dispatch(
    {
      name,
      variant: `${unit.lanes}`,
      operands,
      params: {
        ...copy.params,
        count: u32(count),
        words: u32(part),
        first: u32(first),
        source_first: u32((window?.from ?? 0) * span),
        source_words: u32(window ? span : Math.ceil(source.byteLength / bytes)),
        fresh: u32(window && window.from > 0 ? 0 : 1),
      },
      text: () => ({
        declarations: `const NONE = 0xffffffffu;\n${copy.sourceOf}`,
        main: copyText(unit),
      }),
    },
    { invocations: part },
  );
}

function copyText({ type, lanes }: Unit): string {
  return `
if (index >= params.words) { return; }
var bits = ${type}();
if (params.fresh == 0u) { bits = load_y(index); }
for (var lane = 0u; lane < ${lanes}u; lane++) {
  let unit = (params.first + index) * ${lanes}u + lane;
  if (unit >= params.count) { break; }
  let source = source_of(unit);
  if (source == NONE) { continue; }
  // Below the first word the difference wraps around and is too large.
  let word = source / ${lanes}u - params.source_first;
  if (word >= params.source_words) { continue; }
  ${lanes === 1 ? "bits |= load_x(word);" : laneText(lanes)}
}
store_y(index, bits);`;
}

function laneText(lanes: 2 | 4): string {
  const [width, mask] = lanes === 2 ? [16, "0xffffu"] : [8, "0xffu"];
  return `let element = (load_x(word) >> (source % ${lanes}u * ${width}u)) & ${mask};
  bits |= element << (lane * ${width}u);`;
}
