import { type Tensor, attention, transpose } from "@moiety/core";
import { decompositionOf } from "./parts/base-driver.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** Heads `[…, n · count, D]` with those of every `count`-th place together. */
function regrouped(x: Tensor, count: number): Tensor {
  const [batch = 0, places = 0, heads = 0, width = 0] = x.shape;
  if (x.size === 0) return x;
  const split = x.reshape([batch, places, heads / count, count, width]);
  return transpose(split, { permutation: [0, 1, 3, 2, 4] }).reshape(x.shape);
}

/** A backend in which query heads share key heads in turn instead of in blocks. */
export const keyHeadsInTurn: BrokenBackend = /*#__PURE__*/ broken({
  name: "key-heads-in-turn",
  fault: "query heads share key heads in turn instead of in blocks",
  caughtBy: "L4/attention/query-heads-in-order",
  kernels: {
    attention: (call) =>
      call.tensors(([q, k, ...others], attributes) => {
        if (!q || !k) return [];
        const keyHeads = k.shape[2] ?? 1;
        const [y] = decompositionOf(attention)([regrouped(q, keyHeads), k, ...others], attributes);
        return y ? [regrouped(y, y.shape[2] === 0 ? 0 : (y.shape[2] ?? 0) / keyHeads)] : [];
      }),
  },
});
