import { type Backend, type Shape, type Tensor, hostNormal, randomKey, sizeOf } from "@moiety/core";

/** Normal numbers of a shape, the same for the same seed on every backend. */
export function randomTensor(backend: Backend, seed: number, shape: Shape): Tensor {
  const values = Float32Array.from(hostNormal(randomKey(seed), sizeOf(shape)));
  return backend.tensor(values, { shape });
}
