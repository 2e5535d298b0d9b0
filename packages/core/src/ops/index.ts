/**
 * Every op, and the functions that make them pleasant to call.
 * @packageDocumentation
 */
export { gelu, geluTanh, relu, reluSquared, silu } from "./activation.ts";
export {
  abs,
  add,
  and,
  ceil,
  cos,
  div,
  equal,
  erf,
  exp,
  floor,
  greater,
  greaterEqual,
  isNaN,
  less,
  lessEqual,
  log,
  log1p,
  maximum,
  minimum,
  mul,
  neg,
  not,
  notEqual,
  or,
  pow,
  reciprocal,
  rem,
  round,
  rsqrt,
  select,
  sigmoid,
  sign,
  sin,
  softplus,
  sqrt,
  square,
  sub,
  tanh,
} from "./arithmetic.ts";
export { type AttentionAttributes, attention, attentionBackward } from "./attention.ts";
export { atLeast, cast } from "./cast.ts";
export { type CompareKind, compare } from "./compare.ts";
export { arange, fill, full, iota, ones, onesLike, zeros, zerosLike } from "./creation.ts";
export { type CumsumAttributes, cumsum } from "./cumsum.ts";
export {
  type BinaryAttributes,
  type ReduceAttributes,
  type ReduceKind,
  type WhereAttributes,
  binary,
  broadcast,
  reduce,
  unary,
  where,
} from "./elementwise.ts";
export {
  type TakeAlongAttributes,
  gatherRows,
  oneHot,
  putAlong,
  scatterRows,
  segmentSum,
  takeAlong,
} from "./gather.ts";
export { type GroupedAttributes, groupedMatmul, groupedMatmulGradWeights } from "./grouped.ts";
export { groupRows } from "./grouping.ts";
export type { BinaryKind, UnaryKind } from "./kinds.ts";
export { concat, pad, slice, split, stack, writeSlice } from "./layout.ts";
export { crossEntropy, crossEntropyBackward } from "./loss.ts";
export { type LinearAttributes, linear } from "./linear.ts";
export { type MatmulAttributes, matmul } from "./matmul.ts";
export { type RmsNormAttributes, rmsNorm, rmsNormBackward } from "./norm.ts";
export { type AdamWAttributes, adamW } from "./optimizer.ts";
export {
  type DequantizeAttributes,
  type ProductFormat,
  type QuantizedFormat,
  type QuantizedLayout,
  dequantize,
  productFormats,
  quantizedFormats,
  roundsActivations,
  storedFormat,
  valueShape,
} from "./quantized.ts";
export { type RandomAttributes, normal, randomBits, uniform } from "./random.ts";
export { max, mean, min, sum } from "./reduction.ts";
export {
  type RopeAttributes,
  type RotaryTable,
  rope,
  rotaryFrequencies,
  rotaryTable,
} from "./rope.ts";
export { roundBlocks } from "./round-blocks.ts";
export { logSumExp, softmax } from "./softmax.ts";
export { argmax, argsort, topK } from "./sort.ts";
export { moveAxis, transpose } from "./transpose.ts";
