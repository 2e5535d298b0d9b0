/**
 * Core of Moiety: tensors, ops, gradients, the backend contract, modules, routing and `moe()`.
 * @packageDocumentation
 */
export type * from "./contract.ts";
export {
  type DType,
  type FloatDType,
  type HostArray,
  type HostArrays,
  bytesPerElement,
  hostArray,
  isFloat,
  isInteger,
} from "./dtype.ts";
export { byteLength, defineBackend } from "./engine.ts";
export * from "./errors.ts";
export {
  type Forward,
  type Pause,
  type PauseAnswer,
  type RoutingPause,
  type TracePause,
  apply,
  applyAsync,
  checkpoint,
  drain,
} from "./forward.ts";
export {
  type CustomForward,
  type GradientOptions,
  type GradientsOf,
  type ValueAndGradients,
  customGradient,
  pullBack,
  valueAndGrad,
} from "./gradient.ts";
export { constantParameter, normalParameter } from "./init.ts";
export type { Initialized, InitOptions, Module } from "./module.ts";
export * from "./moe/bank.ts";
export * from "./moe/capacity.ts";
export * from "./moe/check-spec.ts";
export * from "./moe/ffn.ts";
export * from "./moe/ffn-descriptor.ts";
export * from "./moe/mix.ts";
export * from "./moe/moe.ts";
export * from "./moe/plan.ts";
export * from "./moe/route.ts";
export * from "./moe/route-top-k.ts";
export * from "./moe/routing.ts";
export * from "./moe/spec.ts";
export * from "./moe/stages.ts";
export {
  type AnyOp,
  type ErasedDefinition,
  type Each,
  type GradientCall,
  type InputSpecs,
  type NoAttributes,
  type Op,
  type OpArguments,
  type OpDefinition,
  type OpInputs,
  type OpOutputs,
  type OutputSpecs,
  type OutputTuple,
  defineOp,
} from "./op.ts";
export * from "./ops/index.ts";
export * from "./random.ts";
export {
  type Shape,
  broadcastAxes,
  broadcastShapes,
  formatShape,
  resolveAxis,
  sameShape,
  sizeOf,
  stridesOf,
} from "./shape.ts";
export { Tensor, donate, isTensor, stopGradient } from "./tensor.ts";
export type { Trace } from "./trace.ts";
export {
  type Leaf,
  type MapTree,
  type QuantizedTensor,
  at,
  forEachLeaf,
  isQuantized,
  leavesOf,
  mapTree,
  zipTree,
} from "./tree.ts";
