import { type MatmulAttributes, sizeOf } from "@moiety/core";
import type { Kernel } from "./kernel.ts";
import { broadcastPlaces } from "./places.ts";
import { Sum, stepOf } from "./sum.ts";

/** Matrix products, one for each batch entry. */
export const matmul: Kernel = (call) => {
  const { transposeA, transposeB } = call.attributes<MatmulAttributes>();
  const a = call.input(0);
  const b = call.input(1);
  const { shape, dtype } = call.spec(0);
  const y = call.result();
  const [rows = 0, columns = 0] = shape.slice(-2);
  const depth = a.shape.at(transposeA ? -2 : -1) ?? 0;
  // Which matrix of a and of b each batch entry takes.
  const batch = shape.slice(0, -2);
  const matrixOfA = broadcastPlaces(a.shape.slice(0, -2), batch);
  const matrixOfB = broadcastPlaces(b.shape.slice(0, -2), batch);
  const sum = new Sum(call.precision, dtype, stepOf(a) * stepOf(b));
  for (let entry = 0; entry < sizeOf(batch); entry++) {
    const startA = (matrixOfA[entry] ?? 0) * rows * depth;
    const startB = (matrixOfB[entry] ?? 0) * depth * columns;
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        sum.reset();
        for (let k = 0; k < depth; k++) {
          const left = startA + (transposeA ? k * rows + row : row * depth + k);
          const right = startB + (transposeB ? column * depth + k : k * columns + column);
          sum.addProduct(a.value(left), a.bound(left), b.value(right), b.bound(right));
        }
        y.set((entry * rows + row) * columns + column, sum.value, sum.bound);
      }
    }
  }
  return [y];
};
