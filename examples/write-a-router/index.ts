import { type Backend, apply, mean, moe, randomKey, square, valueAndGrad } from "@moiety/core";
import { glu } from "@moiety/experts";
import { router } from "./router.ts";

/** A layer with the router, and its gradient, on the backend that is handed in. */
export async function run(backend: Backend) {
  const experts = glu({ experts: 8, hiddenSize: 16, intermediateSize: 32, activation: "silu" });
  const layer = moe({ router, experts });
  const { params, state } = layer.init(randomKey(1), { backend });
  const numbers = Float32Array.from({ length: 10 * 16 }, (_, i) => 4 * Math.sin(i));
  const x = backend.tensor(numbers, { shape: [10, 16] });

  const step = valueAndGrad((p: typeof params) => mean(square(apply(layer, p, state, x).output)));
  const { loss, grads } = step(params);
  const { indices } = router.route(params.router, state.router, x);
  return {
    loss: await loss.item(),
    choices: await indices.read(),
    load: await apply(layer, params, state, x).load.read(),
    gradient: await grads.router.weight?.read(),
  };
}
