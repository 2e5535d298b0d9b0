// Vectors of all kinds, in one place for those who write kernels.
export { I16x8, I8x16 } from "./narrow.ts";
export { Vector, bitSelect, loadVector, shuffle, vectorConst } from "./vector.ts";
export { F32x4, I32x4 } from "./wide.ts";
