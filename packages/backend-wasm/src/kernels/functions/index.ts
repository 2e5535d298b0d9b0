/**
 * Functions of four floats, written into the bodies of routines. Operands may be any expressions, which
 * are computed once; results are expressions too.
 */
export { erf4, exp4, expNormal4, sigmoid4, tanh4 } from "./exponential.ts";
export { log1p4, log4, softplus4 } from "./logarithm.ts";
export { pow4 } from "./power.ts";
export { cos4, sin4 } from "./trigonometry.ts";
export { fromBF16x4, fromF16x4, toBF16x4, toF16x4 } from "./half-floats.ts";
