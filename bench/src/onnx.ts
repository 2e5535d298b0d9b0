/** A constant of a graph. */
export interface OnnxConstant {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array | Uint8Array;
}

/** One operation of a graph. An absent optional input is an empty string. */
export interface OnnxNode {
  readonly op: string;
  /** Empty for the standard's own operations. */
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Numbers are written as integers, strings as strings. */
  readonly attributes: Readonly<Record<string, number | string>>;
}

/** A float32 tensor that goes in or comes out; a string is the name of a size that may vary. */
export interface OnnxValue {
  readonly name: string;
  readonly shape: readonly (number | string)[];
}

/** A model of one graph. */
export interface OnnxGraph {
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  readonly constants: readonly OnnxConstant[];
  readonly nodes: readonly OnnxNode[];
}

/** Version of the format, and of the operations (those of Microsoft's domain have a version of their own). */
const IR_VERSION = 9;
const OPSETS = { "": 20, "com.microsoft": 1 } as const;
/** Numbers of `TensorProto.DataType`. */
const FLOAT = 1;
const UINT8 = 2;
/** Numbers of `AttributeProto.AttributeType`. */
const INTEGER = 2;
const STRING = 3;

/** Writes a model as ONNX: protocol buffers, by the field numbers of `onnx.proto3`. */
export function onnxModel(graph: OnnxGraph): Uint8Array {
  return join([
    integer(1, IR_VERSION),
    message(7, graphBytes(graph)),
    ...Object.entries(OPSETS).map(([domain, version]) =>
      message(8, [text(1, domain), integer(2, version)]),
    ),
  ]);
}

function graphBytes({ inputs, outputs, constants, nodes }: OnnxGraph): Uint8Array[] {
  return [
    ...nodes.map((node, index) => message(1, nodeBytes(node, index))),
    text(2, "graph"),
    ...constants.map((constant) => message(5, constantBytes(constant))),
    ...inputs.map((value) => message(11, valueBytes(value))),
    ...outputs.map((value) => message(12, valueBytes(value))),
  ];
}

function nodeBytes(
  { op, domain, inputs, outputs, attributes }: OnnxNode,
  index: number,
): Uint8Array[] {
  return [
    ...inputs.map((name) => text(1, name)),
    ...outputs.map((name) => text(2, name)),
    text(3, `${op}${index}`),
    text(4, op),
    ...Object.entries(attributes).map(([name, value]) =>
      message(5, [
        text(1, name),
        typeof value === "number" ? integer(3, value) : text(4, value),
        integer(20, typeof value === "number" ? INTEGER : STRING),
      ]),
    ),
    text(7, domain),
  ];
}

function constantBytes({ name, shape, values }: OnnxConstant): Uint8Array[] {
  return [
    ...shape.map((size) => integer(1, size)),
    integer(2, values instanceof Uint8Array ? UINT8 : FLOAT),
    text(8, name),
    bytes(9, new Uint8Array(values.buffer, values.byteOffset, values.byteLength)),
  ];
}

function valueBytes({ name, shape }: OnnxValue): Uint8Array[] {
  const dimensions = shape.map((size) =>
    message(1, [typeof size === "number" ? integer(1, size) : text(2, size)]),
  );
  const tensorType = [integer(1, FLOAT), message(2, dimensions)];
  return [text(1, name), message(2, [message(1, tensorType)])];
}

function integer(field: number, value: number): Uint8Array {
  return Uint8Array.from([...varint(field * 8), ...varint(value)]);
}

function text(field: number, value: string): Uint8Array {
  return bytes(field, new TextEncoder().encode(value));
}

function message(field: number, parts: readonly Uint8Array[]): Uint8Array {
  return bytes(field, join(parts));
}

function bytes(field: number, content: Uint8Array): Uint8Array {
  return join([Uint8Array.from([...varint(field * 8 + 2), ...varint(content.length)]), content]);
}

/** Seven bits a byte, the lowest first. */
function varint(value: number): number[] {
  const found: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) found.push((rest % 128) + 128);
  return [...found, rest];
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let place = 0;
  for (const part of parts) {
    result.set(part, place);
    place += part.length;
  }
  return result;
}
