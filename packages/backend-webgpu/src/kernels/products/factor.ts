import type { GpuHandle } from "../../memory.ts";
import type { ElementType } from "../../program.ts";

/** Dtypes in which a factor of a product may be held; sums are f32 all the same. */
export type StoredFloat = "f32" | "f16" | "bf16";

/** Four half floats as WGSL has them with `shader-f16`. */
const NATIVE_HALVES = "vec4<f16>";

/** Whether a kernel that reads this factor needs `shader-f16`. */
export function readsNativeHalves({ type }: Factor): boolean {
  return type === NATIVE_HALVES;
}

/** In WGSL, a line number that stands for no line. */
export const NO_LINE = "0xffffffffu";

/**
 * How the numbers of one factor lie. A product adds over k; the other index of a factor, which the
 * product keeps, is its *position*.
 */
export interface FactorLayout {
  /** Name of its operand in WGSL. */
  readonly name: string;
  readonly dtype: StoredFloat;
  /**
   * `rows`: a line holds the numbers of one position, by k. `columns`: a line holds the numbers of
   * one k, by position.
   */
  readonly order: "rows" | "columns";
  /** Whether lines, and the matrix, begin at multiples of four elements. */
  readonly aligned: boolean;
  /** Whether the device reads f16 by itself (`shader-f16`); done where lines are aligned. */
  readonly native?: boolean | undefined;
  /** Whether the number of k is known to be a multiple of four. */
  readonly whole: boolean;
  /** WGSL: elements of a line. */
  readonly stride: string;
  /** WGSL: element at which the matrix begins. */
  readonly shift: string;
  /** WGSL: the last position that may be read. Only for `rows`. */
  readonly last?: string | undefined;
  /**
   * WGSL: the line of a position (`rows`) or of a k counted from `origin` (`columns`); the number
   * itself unless given. With `columns` it may be {@link NO_LINE}, which reads zeros.
   */
  readonly line?: ((number: string) => string) | undefined;
  /** WGSL: a factor of the line of a position or k. */
  readonly scale?: ((number: string) => string) | undefined;
  /** WGSL: what is added to k to get the argument of `line` and `scale`. Only for `columns`. */
  readonly origin?: string | undefined;
  /** What of the functions above is not in the other fields. */
  readonly variant?: string | undefined;
}

/** A factor's WGSL. */
export interface Factor {
  readonly name: string;
  readonly order: "rows" | "columns";
  /** Type of its operand's elements. */
  readonly type: ElementType;
  readonly variant: string;
  readonly declarations: string;
  /** Where four neighbouring positions lie, the first of them given. */
  placeOfFour(position: string): string;
  /** Their numbers for four k: `mat4x4<f32>`, a column for each k. */
  block(place: string, k: string, end: string): string;
  /** Their numbers for one k, which must be there. Only for `columns`. */
  readonly line: ((place: string, k: string) => string) | undefined;
  /** Where one position lies. */
  placeOfOne(position: string): string;
  /** Its numbers for four k. */
  strand(place: string, k: string, end: string): string;
  /** Factors of four neighbouring positions; absent where there are none. */
  readonly scaleOfFour: ((position: string) => string) | undefined;
  /** Factor of one position; absent where there are none. */
  readonly scaleOfOne: ((position: string) => string) | undefined;
}

/** Writes the WGSL that reads a factor. Numbers beyond the last k are zero. */
export function factorOf(layout: FactorLayout): Factor {
  return layout.order === "rows" ? factorOfRows(layout) : factorOfColumns(layout);
}

/** How a handle of weights is bound so that {@link factorOf} can read it. */
function elementTypeOf({ dtype, aligned, native }: FactorLayout): ElementType {
  if (dtype === "f32") return aligned ? "vec4<f32>" : "f32";
  if (dtype === "f16" && aligned && native) return NATIVE_HALVES;
  return aligned ? "vec2<u32>" : "u32";
}

/** Whether quads of every line begin at multiples of four elements. */
export function alignedLines(handle: GpuHandle, stride: number): boolean {
  return stride % 4 === 0 && handle.segmentBytes % 16 === 0;
}

/** Functions `quad_NAME(i)`, four elements from i on, and, where not aligned, `one_NAME(i)`. */
function readers(layout: FactorLayout): string {
  const { name, dtype, aligned } = layout;
  if (aligned) return `fn quad_${name}(i: u32) -> vec4<f32> { ${alignedQuad(layout)} }`;
  const element =
    dtype === "f32"
      ? `return load_${name}(i);`
      : `let word = load_${name}(i >> 1u) >> ((i & 1u) * 16u); return ${lowHalf("word", dtype)};`;
  return `fn one_${name}(i: u32) -> f32 { ${element} }
fn quad_${name}(i: u32) -> vec4<f32> {
  return vec4<f32>(one_${name}(i), one_${name}(i + 1u), one_${name}(i + 2u), one_${name}(i + 3u));
}`;
}

function alignedQuad(layout: FactorLayout): string {
  const { name, dtype } = layout;
  const value = `load_${name}(i >> 2u)`;
  if (elementTypeOf(layout) === NATIVE_HALVES) return `return vec4<f32>(${value});`;
  switch (dtype) {
    case "f32":
      return `return ${value};`;
    case "f16":
      return `let w = ${value}; return vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y));`;
    case "bf16":
      return `let w = ${value};
  return bitcast<vec4<f32>>(vec4<u32>(w.x << 16u, w.x & 0xffff0000u, w.y << 16u, w.y & 0xffff0000u));`;
  }
}

function lowHalf(word: string, dtype: "f16" | "bf16"): string {
  return dtype === "f16" ? `unpack2x16float(${word}).x` : `bitcast<f32>(${word} << 16u)`;
}

function factorOfRows(layout: FactorLayout): Factor {
  const { name, dtype, aligned, stride, shift, last, line, scale, variant = "" } = layout;
  const place = (position: string): string => {
    const inside = last === undefined ? position : `min(${position}, ${last})`;
    return `(${line?.(inside) ?? inside}) * ${stride} + ${shift}`;
  };
  const masked = aligned
    ? `quad_${name}(place + k)`
    : `select(vec4<f32>(), quad_${name}(place + k), vec4<u32>(k, k + 1u, k + 2u, k + 3u) < vec4<u32>(end))`;
  return {
    name,
    order: "rows",
    type: elementTypeOf(layout),
    variant: `rows,${dtype},${aligned},${variant}`,
    declarations: `${readers(layout)}
fn strand_${name}(place: u32, k: u32, end: u32) -> vec4<f32> { return ${masked}; }
fn block_${name}(place: vec4<u32>, k: u32, end: u32) -> mat4x4<f32> {
  return transpose(mat4x4<f32>(strand_${name}(place.x, k, end), strand_${name}(place.y, k, end),
    strand_${name}(place.z, k, end), strand_${name}(place.w, k, end)));
}`,
    placeOfFour: (position) => fourOf(place, position, "u32"),
    placeOfOne: place,
    block: (at, k, end) => `block_${name}(${at}, ${k}, ${end})`,
    line: undefined,
    strand: (at, k, end) => `strand_${name}(${at}, ${k}, ${end})`,
    scaleOfFour: scale && ((position) => fourOf(scale, position, "f32")),
    scaleOfOne: scale,
  };
}

function fourOf(value: (position: string) => string, position: string, type: string): string {
  const values = [0, 1, 2, 3].map((step) => value(`(${position}) + ${step}u`));
  return `vec4<${type}>(${values.join(", ")})`;
}

function factorOfColumns(layout: FactorLayout): Factor {
  const { name, dtype, aligned, whole, stride, shift, line, scale, variant = "" } = layout;
  const origin = layout.origin ?? "0u";
  const masked = (call: string): string => (whole ? call : `select(vec4<f32>(), ${call}, k < end)`);
  const steps = (value: (k: string) => string): string =>
    [0, 1, 2, 3].map((step) => value(`k + ${step}u`)).join(", ");
  // A line that is not there is read as another one, and counts as zeros; no branch is taken.
  const read = (element: string, zero: string): string => `let number = origin + k;
  let line = ${line?.("number") ?? "number"};
  ${line ? `let there = line != ${NO_LINE};` : ""}
  let value = ${element}(${line ? "select(0u, line, there)" : "line"} * ${stride} + place)${scale ? ` * ${scale("number")}` : ""};
  return ${line ? `select(${zero}, value, there)` : "value"};`;
  return {
    name,
    order: "columns",
    type: elementTypeOf(layout),
    variant: `columns,${dtype},${aligned},${whole},${variant}`,
    declarations: `${readers(layout)}
fn line_${name}(place: u32, origin: u32, k: u32) -> vec4<f32> {
  ${read(`quad_${name}`, "vec4<f32>()")}
}
fn cross_${name}(place: u32, origin: u32, k: u32, end: u32) -> vec4<f32> {
  return ${masked(`line_${name}(place, origin, k)`)};
}
fn block_${name}(place: u32, origin: u32, k: u32, end: u32) -> mat4x4<f32> {
  return mat4x4<f32>(${steps((k) => `cross_${name}(place, origin, ${k}, end)`)});
}
${aligned ? "" : singleText(name, read(`one_${name}`, "0.0"), whole)}`,
    placeOfFour: (position) => `(${position}) + ${shift}`,
    placeOfOne: (position) => `(${position}) + ${shift}`,
    block: (at, k, end) => `block_${name}(${at}, ${origin}, ${k}, ${end})`,
    line: (at, k) => `line_${name}(${at}, ${origin}, ${k})`,
    strand: (at, k, end) => `strand_${name}(${at}, ${origin}, ${k}, ${end})`,
    scaleOfFour: undefined,
    scaleOfOne: undefined,
  };
}

/** Numbers of one position, where quads of positions do not begin at multiples of four. */
function singleText(name: string, read: string, whole: boolean): string {
  const single = (step: number): string => `single_${name}(place, origin, k + ${step}u)`;
  const strand = `vec4<f32>(${[0, 1, 2, 3].map(single).join(", ")})`;
  const inside = "vec4<u32>(k, k + 1u, k + 2u, k + 3u) < vec4<u32>(end)";
  return `fn single_${name}(place: u32, origin: u32, k: u32) -> f32 {
  ${read}
}
fn strand_${name}(place: u32, origin: u32, k: u32, end: u32) -> vec4<f32> {
  return ${whole ? strand : `select(vec4<f32>(), ${strand}, ${inside})`};
}`;
}
