import { engineOf } from "./engine.ts";
import type { InitOptions } from "./module.ts";
import { type RandomKey, hostNormal } from "./random.ts";
import { type Shape, sizeOf } from "./shape.ts";
import type { Tensor } from "./tensor.ts";

/**
 * A parameter drawn from normal(0, `deviation`) on the host, so that it is bit-equal everywhere.
 * @throws ConfigError without a backend
 */
export function normalParameter(
  key: RandomKey,
  shape: Shape,
  deviation: number,
  { backend, dtype = "f32" }: InitOptions,
): Tensor {
  const draws = Float32Array.from(hostNormal(key, sizeOf(shape)), (draw) => draw * deviation);
  return engineOf(backend, "init").tensor(draws, { shape, dtype });
}

/** A parameter that starts at one value everywhere. @throws ConfigError without a backend */
export function constantParameter(
  value: number,
  shape: Shape,
  { backend, dtype = "f32" }: InitOptions,
): Tensor {
  const data = new Float64Array(sizeOf(shape)).fill(value);
  return engineOf(backend, "init").tensor(data, { shape, dtype });
}
