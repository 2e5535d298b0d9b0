import { type QuantizedFormat, quantizedFormats } from "@moiety/core";
import { codesText } from "./codes-text.ts";
import type { Factor } from "./factor.ts";

/**
 * How the codes of a factor lie. Its line is a row of codes as it is stored, with its own scales:
 * lines are counted over all matrices, and numbers over all lines.
 */
export interface CodesLayout {
  /** Name of the operand of codes in WGSL; that of the scales ends in `Scales`. */
  readonly name: string;
  readonly format: QuantizedFormat;
  /** `rows`: a line holds the numbers of one position, by k; `columns`: of one k, by position. */
  readonly order: "rows" | "columns";
  /** Whether numbers are asked for by quads that lie in one line's groups of four. */
  readonly aligned: boolean;
  /** Whether the number of k is known to be a multiple of four. */
  readonly whole: boolean;
  /** WGSL: numbers of a line. */
  readonly width: string;
  /** WGSL: the first line of the matrix. */
  readonly first: string;
  /** WGSL: the last position that may be read. Only for `rows`. */
  readonly last: string;
  /** WGSL: numbers before what is bound of the codes. */
  readonly shift: string;
  /** WGSL: scales before what is bound of them. */
  readonly scalesShift: string;
}

/** Writes the WGSL that reads codes as numbers: those that `dequantize` gives, never stored. */
export function codesFactor(layout: CodesLayout): Factor {
  return layout.order === "rows" ? codesByRows(layout) : codesByColumns(layout);
}

const FOUR = [0, 1, 2, 3] as const;
/** Whether the lanes of a quad from `k` on are there. */
const INSIDE = "vec4<u32>(k, k + 1u, k + 2u, k + 3u) < vec4<u32>(end)";

/** WGSL: where number `place` of line `line` and its scale lie. */
function spots({ format, width, shift, scalesShift }: CodesLayout): {
  readonly code: (line: string, place: string) => string;
  readonly scale: (line: string, place: string) => string;
} {
  const { block } = quantizedFormats[format];
  return {
    code: (line, place) => `${line} * ${width} + ${place} - ${shift}`,
    scale: (line, place) =>
      block === undefined
        ? `${line} - ${scalesShift}`
        : `${line} * (${width} / ${block}u) + (${place}) / ${block}u - ${scalesShift}`,
  };
}

/**
 * WGSL `one_NAME(line, place)`, and `quad_NAME(line, place)`: a number of a line, and four neighbours.
 * Every product reads numbers through them.
 */
function readers(layout: CodesLayout): string {
  const { name, format, aligned } = layout;
  const { code, scale } = spots(layout);
  const one = (step: number): string => `one_${name}(line, place + ${step}u)`;
  const quad = aligned
    ? `return numbers_${name}(codes_${name}(${code("line", "place")}), scale_${name}(${scale("line", "place")}));`
    : `return vec4<f32>(${FOUR.map(one).join(", ")});`;
  return `${codesText(name, format)}
fn one_${name}(line: u32, place: u32) -> f32 {
  return number_${name}(code_${name}(${code("line", "place")}), scale_${name}(${scale("line", "place")}));
}
fn quad_${name}(line: u32, place: u32) -> vec4<f32> { ${quad} }`;
}

function variantOf({ format, order, aligned, whole }: CodesLayout): string {
  return `${order},${format},${aligned},${whole}`;
}

/** The place of a position is its line. */
function codesByRows(layout: CodesLayout): Factor {
  const { name, whole, first, last } = layout;
  const line = (position: string): string => `${first} + min(${position}, ${last})`;
  const quad = `quad_${name}(place, k)`;
  return {
    name,
    order: "rows",
    type: "u32",
    variant: variantOf(layout),
    declarations: `${readers(layout)}
fn strand_${name}(place: u32, k: u32, end: u32) -> vec4<f32> {
  return ${whole ? quad : `select(vec4<f32>(), ${quad}, ${INSIDE})`};
}
fn block_${name}(place: vec4<u32>, k: u32, end: u32) -> mat4x4<f32> {
  return transpose(mat4x4<f32>(${["x", "y", "z", "w"].map((lane) => `strand_${name}(place.${lane}, k, end)`).join(", ")}));
}`,
    placeOfFour: (position) =>
      `vec4<u32>(${FOUR.map((step) => line(`(${position}) + ${step}u`)).join(", ")})`,
    placeOfOne: line,
    block: (place, k, end) => `block_${name}(${place}, ${k}, ${end})`,
    line: undefined,
    strand: (place, k, end) => `strand_${name}(${place}, ${k}, ${end})`,
    scaleOfFour: undefined,
    scaleOfOne: undefined,
  };
}

/** The place of a position is itself, and each k has a line. */
function codesByColumns(layout: CodesLayout): Factor {
  const { name, whole, first } = layout;
  const there = (call: string, k: string): string =>
    whole ? call : `select(vec4<f32>(), ${call}, ${k} < end)`;
  const lines = FOUR.map((step) =>
    there(`quad_${name}(first + k + ${step}u, place)`, `k + ${step}u`),
  );
  const ones = FOUR.map((step) => `one_${name}(first + k + ${step}u, place)`).join(", ");
  const strand = `vec4<f32>(${ones})`;
  return {
    name,
    order: "columns",
    type: "u32",
    variant: variantOf(layout),
    declarations: `${readers(layout)}
fn block_${name}(place: u32, first: u32, k: u32, end: u32) -> mat4x4<f32> {
  return mat4x4<f32>(${lines.join(", ")});
}
fn strand_${name}(place: u32, first: u32, k: u32, end: u32) -> vec4<f32> {
  return ${whole ? strand : `select(vec4<f32>(), ${strand}, ${INSIDE})`};
}`,
    placeOfFour: (position) => position,
    placeOfOne: (position) => position,
    block: (place, k, end) => `block_${name}(${place}, ${first}, ${k}, ${end})`,
    line: undefined,
    strand: (place, k, end) => `strand_${name}(${place}, ${first}, ${k}, ${end})`,
    scaleOfFour: undefined,
    scaleOfOne: undefined,
  };
}
