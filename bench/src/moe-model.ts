import { type OnnxConstant, type OnnxNode, onnxModel } from "./onnx.ts";
import {
  type Grid,
  type HostMatrix,
  type HostWeights,
  type LayerSizes,
  EIGHT_BITS,
  FOUR_BITS,
  stepOf,
} from "./weights.ts";

/** How the experts' weights are held. */
export type WeightFormat = "f32" | "q8_row" | "q4_block32";

/** The numbers that a format holds exactly. */
export function gridOf(format: WeightFormat): Grid {
  return format === "q4_block32" ? FOUR_BITS : EIGHT_BITS;
}

/** Bytes of one weight, its share of a scale included, in rows of so many. */
export function bytesPerWeight(format: WeightFormat, rowLength: number): number {
  const scale = Float32Array.BYTES_PER_ELEMENT;
  if (format === "f32") return Float32Array.BYTES_PER_ELEMENT;
  const { block = rowLength } = gridOf(format);
  return (format === "q4_block32" ? 0.5 : 1) + scale / block;
}

/**
 * The layer as an ONNX model: `MatMul` for the router, then `MoE` or `QMoE` of Microsoft's domain.
 * Their SwiGLU takes the rows of gate and up in turns.
 */
export function moeModel(
  weights: HostWeights,
  { hidden, experts, topK }: LayerSizes,
  format: WeightFormat,
): Uint8Array {
  const attributes = {
    k: topK,
    activation_type: "swiglu",
    swiglu_fusion: 1,
    normalize_routing_weights: 1,
  };
  return onnxModel({
    inputs: [{ name: "x", shape: ["T", hidden] }],
    outputs: [{ name: "y", shape: ["T", hidden] }],
    constants: [
      { name: "router", shape: [hidden, experts], values: transposed(weights.router) },
      ...matrixConstants("gateUp", weights.gateUp, format),
      ...matrixConstants("down", weights.down, format),
    ],
    nodes: [
      { op: "MatMul", domain: "", inputs: ["x", "router"], outputs: ["logits"], attributes: {} },
      format === "f32" ? floatNode(attributes) : codedNode(attributes, format),
    ],
  });
}

/** A product `x [size, size]` with a constant matrix, as an ONNX model. */
export function productModel(size: number, values: Float32Array): Uint8Array {
  const shape = [size, size];
  return onnxModel({
    inputs: [{ name: "x", shape }],
    outputs: [{ name: "y", shape }],
    constants: [{ name: "b", shape, values }],
    nodes: [{ op: "MatMul", domain: "", inputs: ["x", "b"], outputs: ["y"], attributes: {} }],
  });
}

type Attributes = OnnxNode["attributes"];
const DOMAIN = "com.microsoft";

function floatNode(attributes: Attributes): OnnxNode {
  const inputs = ["x", "logits", "gateUp", "", "down"];
  return { op: "MoE", domain: DOMAIN, inputs, outputs: ["y"], attributes };
}

function codedNode(attributes: Attributes, format: WeightFormat): OnnxNode {
  const { block } = gridOf(format);
  return {
    op: "QMoE",
    domain: DOMAIN,
    inputs: ["x", "logits", "gateUp", "gateUpScales", "", "down", "downScales"],
    outputs: ["y"],
    attributes: {
      ...attributes,
      expert_weight_bits: format === "q4_block32" ? 4 : 8,
      ...(block !== undefined && { block_size: block }),
    },
  };
}

function matrixConstants(name: string, matrix: HostMatrix, format: WeightFormat): OnnxConstant[] {
  const { shape } = matrix;
  if (format === "f32") return [{ name, shape, values: valuesOf(matrix) }];
  const { codes, codesShape, scales, scalesShape } = codedMatrix(matrix, format);
  return [
    { name, shape: codesShape, values: codes },
    { name: `${name}Scales`, shape: scalesShape, values: scales },
  ];
}

/** A matrix in a quantised format, as onnxruntime and Moiety both lay it out. */
export interface CodedMatrix {
  readonly codes: Uint8Array;
  readonly codesShape: readonly number[];
  readonly scales: Float32Array;
  readonly scalesShape: readonly number[];
}

/** Codes are the whole numbers plus a zero point; two of 4 bits share a byte, the first below. */
export function codedMatrix(matrix: HostMatrix, format: "q8_row" | "q4_block32"): CodedMatrix {
  const { shape } = matrix;
  const grid = gridOf(format);
  const step = stepOf(matrix, grid);
  const zeroPoint = grid.largest + 1;
  const rows = shape.slice(0, -1);
  const width = shape.at(-1) ?? 0;
  const scalesShape = grid.block === undefined ? rows : [...rows, width / grid.block];
  // A row's or block's largest number is `largest` steps, so its scale is one step.
  const scales = new Float32Array(sizeOf(scalesShape)).fill(step);
  const halves = format === "q4_block32";
  const codesShape = [...rows, halves ? width / 2 : width];
  const codes = new Uint8Array(sizeOf(codesShape));
  const codeAt = (index: number): number => matrix.at(index) / step + zeroPoint;
  for (let index = 0; index < codes.length; index++) {
    codes[index] = halves ? codeAt(2 * index) | (codeAt(2 * index + 1) << 4) : codeAt(index);
  }
  return { codes, codesShape, scales, scalesShape };
}

function valuesOf(matrix: HostMatrix): Float32Array {
  const values = new Float32Array(sizeOf(matrix.shape));
  for (let index = 0; index < values.length; index++) values[index] = matrix.at(index);
  return values;
}

function transposed(matrix: HostMatrix): Float32Array {
  const [rows = 0, columns = 0] = matrix.shape;
  return Float32Array.from({ length: rows * columns }, (_, index) =>
    matrix.at((index % rows) * columns + Math.floor(index / rows)),
  );
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
