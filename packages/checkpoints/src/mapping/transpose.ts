import type { HostArray, Shape } from "@moiety/core";

/**
 * Writes whole rows of `[…, R, C]` into their columns of `[…, C, R]`. `firstRow` counts the rows of
 * all matrices; `target[start]` is the first element of the first matrix.
 */
export function scatterRows(
  rows: HostArray,
  shape: Shape,
  firstRow: number,
  target: HostArray,
  start: number,
): void {
  const [height, width] = matrixOf(shape);
  for (let row = 0; row * width < rows.length; row++) {
    const matrix = Math.floor((firstRow + row) / height);
    const first = start + matrix * height * width + ((firstRow + row) % height);
    for (let column = 0; column < width; column++) {
      target[first + column * height] = rows[row * width + column] ?? 0;
    }
  }
}

/** Fills `target` of shape `[…, R, C]` from the columns of `source`, which is `[…, C, R]`. */
export function gatherColumns(source: HostArray, shape: Shape, target: HostArray): void {
  const [height, width] = matrixOf(shape);
  for (let row = 0; row * width < target.length; row++) {
    const first = Math.floor(row / height) * height * width + (row % height);
    for (let column = 0; column < width; column++) {
      target[row * width + column] = source[first + column * height] ?? 0;
    }
  }
}

/** Height and width of the matrices of a shape. */
function matrixOf(shape: Shape): readonly [height: number, width: number] {
  return [shape.at(-2) ?? 1, shape.at(-1) ?? 1];
}
