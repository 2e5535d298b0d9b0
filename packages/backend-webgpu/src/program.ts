import { UnsupportedError } from "@moiety/core";
import { PARAMS_BYTES } from "./arena.ts";
import type { GpuContext } from "./context.ts";
import type { GpuHandle } from "./memory.ts";
import type { Signature } from "./pipelines.ts";
import type { Binding } from "./queue.ts";

/** WGSL types that an operand's elements may have, with their bytes. */
export const ELEMENT_BYTES = {
  f32: 4,
  i32: 4,
  u32: 4,
  f16: 2,
  "vec2<f32>": 8,
  "vec2<u32>": 8,
  "vec4<f32>": 16,
  "vec4<u32>": 16,
  "vec4<i32>": 16,
  "vec4<f16>": 8,
} as const;

/** WGSL type of an operand's elements. */
export type ElementType = keyof typeof ELEMENT_BYTES;

/** A tensor as a kernel binds it: as elements of a WGSL type, whatever its dtype. */
export interface Operand {
  readonly handle: GpuHandle;
  readonly type: ElementType;
  /** `write` operands can be read too. */
  readonly access: "read" | "write";
  /** Only segments from this one on are bound, and numbered from 0; all of them unless given. */
  readonly segment?: number | undefined;
  /** How many segments are bound where `segment` is given; 1 unless given. */
  readonly segments?: number | undefined;
}

/** An operand that is read. */
export function read(handle: GpuHandle, type: ElementType, segment?: number): Operand {
  return { handle, type, access: "read", segment };
}

/** An operand that is written (and may be read). */
export function write(handle: GpuHandle, type: ElementType, segment?: number): Operand {
  return { handle, type, access: "write", segment };
}

/** A number that a dispatch hands to its kernel; it does not change the kernel. */
export interface Param {
  readonly type: "u32" | "i32" | "f32";
  readonly value: number;
}

/** An unsigned number. */
export const u32 = (value: number): Param => ({ type: "u32", value });
/** A signed number. */
export const i32 = (value: number): Param => ({ type: "i32", value });
/** A float. */
export const f32 = (value: number): Param => ({ type: "f32", value });

/** The text of a kernel, without what its operands and numbers imply. */
export interface KernelText {
  /** Functions, constants and workgroup variables. */
  readonly declarations?: string | undefined;
  /**
   * Body of the entry point. In scope: `group` (number of the workgroup, in one dimension), `wid`,
   * `nwg` (its place and their number, in three), `lid` (number of the invocation in its group),
   * `index` (`group · size + lid`), and `params.NAME`. Operand `x` is `load_x(i)`, `store_x(i, v)`.
   */
  readonly main: string;
}

/** One dispatch, as kernels ask for it. */
export interface DispatchRequest {
  /** Names the kernel together with `variant` and the operands' types. */
  readonly name: string;
  /** Everything else on which the text depends. */
  readonly variant?: string | undefined;
  /** In the order in which they are bound. */
  readonly operands: Readonly<Record<string, Operand>>;
  /** At most 64, always the same ones for one name and variant. */
  readonly params?: Readonly<Record<string, Param>> | undefined;
  /** Invocations of a workgroup; 64 unless given. */
  readonly workgroupSize?: number | undefined;
  /** Uses half floats in WGSL; only where the context has `f16`. */
  readonly f16?: boolean | undefined;
  /**
   * Uses subgroups in WGSL, with `lane` (number of the invocation in its subgroup) in scope; only
   * where the context has them.
   */
  readonly subgroups?: boolean | undefined;
  /** Called once for each kernel. */
  readonly text: () => KernelText;
}

/** Invocations of a workgroup unless a kernel says otherwise. */
export const WORKGROUP = 64;

/** What a request becomes for the queue. */
export interface Prepared {
  readonly key: string;
  readonly signature: Signature;
  readonly bindings: readonly Binding[];
  readonly params: Uint8Array;
  readonly code: () => string;
}

/** Names a kernel, lays out its operands and numbers, and knows how to write its text. */
export function prepareDispatch(request: DispatchRequest, context: GpuContext): Prepared {
  const operands = Object.entries(request.operands);
  const bindings: Binding[] = [];
  const numbers: Record<string, Param> = { ...request.params };
  let signature = "";
  let key = `${request.name}/${request.variant ?? ""}/${request.workgroupSize ?? WORKGROUP}`;
  for (const [name, operand] of operands) {
    const pieces = segmentsOf(operand);
    for (const piece of pieces) bindings.push(piece);
    signature += (operand.access === "read" ? "r" : "w").repeat(pieces.length);
    key += `;${name}:${operand.type}${operand.access === "read" ? "" : "!"}${pieces.length}`;
    if (pieces.length > 1) numbers[segmentParam(name)] = u32(segmentElements(operand));
  }
  if (bindings.length > context.storageBuffers) {
    throw new UnsupportedError(
      `${request.name} needs ${bindings.length} storage buffers for tensors of this size, but the ` +
        `device has ${context.storageBuffers} for each kernel; its bindings hold ` +
        `${context.segmentBytes} bytes`,
      "maxStorageBuffersPerShaderStage",
    );
  }
  const params = packParams(request.name, numbers);
  return { key, signature, bindings, params, code: () => moduleText(request, numbers) };
}

/** How many bindings an operand takes. */
function segmentsOf({ handle, segment, segments = 1 }: Operand): readonly Binding[] {
  const { blocks, segmentBytes, byteLength } = handle;
  const chosen = segment === undefined ? blocks : blocks.slice(segment, segment + segments);
  return chosen.map((block, position) => {
    const start = ((segment ?? 0) + position) * segmentBytes;
    // A kernel may look at whole vectors, so the rounded size is bound.
    const bytes = Math.min(block.bytes, roundUp(Math.min(segmentBytes, byteLength - start), 16));
    return { block, bytes: Math.max(bytes, 16) };
  });
}

function segmentElements({ handle, type }: Operand): number {
  return handle.segmentBytes / ELEMENT_BYTES[type];
}

function segmentParam(name: string): string {
  return `${name}_segment`;
}

function packParams(name: string, params: Readonly<Record<string, Param>>): Uint8Array {
  const entries = Object.values(params);
  if (entries.length * 4 > PARAMS_BYTES) {
    throw new UnsupportedError(`${name} takes too many numbers`, name);
  }
  const view = new DataView(new ArrayBuffer(entries.length * 4));
  for (const [index, { type, value }] of entries.entries()) {
    if (type === "f32") view.setFloat32(index * 4, value, true);
    else if (type === "i32") view.setInt32(index * 4, value, true);
    else view.setUint32(index * 4, value, true);
  }
  return new Uint8Array(view.buffer);
}

/** The whole WGSL module of a kernel. */
function moduleText(request: DispatchRequest, params: Readonly<Record<string, Param>>): string {
  const lines: string[] = [];
  if (request.f16) lines.push("enable f16;");
  if (request.subgroups) lines.push("enable subgroups;");
  const names = Object.entries(params);
  if (names.length > 0) {
    const fields = names.map(([name, { type }]) => `  ${name}: ${type},`);
    lines.push("struct Params {", ...fields, "}");
    lines.push("@group(1) @binding(0) var<uniform> params: Params;");
  }
  let binding = 0;
  for (const [name, operand] of Object.entries(request.operands)) {
    const count = segmentsOf(operand).length;
    lines.push(...operandText(name, operand, binding, count));
    binding += count;
  }
  const { declarations, main } = request.text();
  const size = request.workgroupSize ?? WORKGROUP;
  if (declarations) lines.push(declarations);
  lines.push(
    `@compute @workgroup_size(${size})`,
    "fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>,",
    "        @builtin(local_invocation_index) lid: u32",
    request.subgroups ? "        , @builtin(subgroup_invocation_id) lane: u32) {" : ") {",
    "  let group = wid.x + nwg.x * (wid.y + nwg.y * wid.z);",
    `  let index = group * ${size}u + lid;`,
    main,
    "}",
  );
  return lines.join("\n");
}

/** Bindings of an operand, and functions that hide in which segment an element lies. */
function operandText(
  name: string,
  { type, access }: Operand,
  first: number,
  count: number,
): string[] {
  const lines: string[] = [];
  const mode = access === "read" ? "read" : "read_write";
  for (let piece = 0; piece < count; piece++) {
    lines.push(
      `@group(0) @binding(${first + piece}) var<storage, ${mode}> ${name}_${piece}: array<${type}>;`,
    );
  }
  const choose = (statement: (array: string, at: string) => string): string => {
    if (count === 1) return statement(`${name}_0`, "i");
    const segment = `params.${segmentParam(name)}`;
    const cases = Array.from({ length: count }, (_, piece) => {
      const label = piece === count - 1 ? "default" : `case ${piece}u`;
      return `    ${label}: { ${statement(`${name}_${piece}`, `i - ${piece}u * ${segment}`)} }`;
    });
    return `switch (i / ${segment}) {\n${cases.join("\n")}\n  }`;
  };
  lines.push(`fn load_${name}(i: u32) -> ${type} {`);
  lines.push(`  ${choose((array, at) => `return ${array}[${at}];`)}`, "}");
  if (access === "write") {
    lines.push(`fn store_${name}(i: u32, value: ${type}) {`);
    lines.push(`  ${choose((array, at) => `${array}[${at}] = value;`)}`, "}");
  }
  return lines;
}

/** The next multiple of `step`. */
export function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}
