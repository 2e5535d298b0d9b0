/**
 * Banks of experts: plain and gated feed-forward networks, and shared experts.
 * @packageDocumentation
 */
export type { BankOptions, FfnBank } from "./bank.ts";
export { type DenseFfn, denseFfn } from "./dense.ts";
export { glu } from "./glu.ts";
export { mlp } from "./mlp.ts";
export type { DenseOptions, FfnOptions, GateOptions } from "./options.ts";
export type { FfnParams, GluParams, MlpParams } from "./params.ts";
export {
  type SharedExpert,
  type SharedExpertOptions,
  type SharedExpertParams,
  type SharedExpertShapes,
  sharedExpert,
} from "./shared.ts";
export type { ShapesOf } from "./shapes.ts";
