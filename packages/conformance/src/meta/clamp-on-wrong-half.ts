import {
  type FfnAttributes,
  type FfnDescriptor,
  type Tensor,
  add,
  combine,
  dispatch,
  gather,
  gatherRows,
  groupedMatmul,
  maximum,
  minimum,
  mul,
  planChoices,
  sigmoid,
  slice,
} from "@moiety/core";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/**
 * A backend in which the limits of the two halves are swapped: two-sided on the gate, one-sided on
 * up.
 */
export const clampOnWrongHalf: BrokenBackend = /*#__PURE__*/ broken({
  name: "clamp-on-wrong-half",
  fault: "the limits of the gate are applied to the up half and those of the up half to the gate",
  caughtBy: "L3/moe-ffn/bank-clamp-before",
  kernels: {
    moeFfn(call) {
      const { descriptor } = call.attributes<FfnAttributes>();
      const { gate, clamp, activation } = descriptor;
      if (!gate || !clamp || clamp.when === "after" || activation !== "silu") return call.honest();
      return call.tensors((inputs) => {
        const [x, indices, outputWeights, up, down, upBias, downBias, inputWeights] = inputs;
        if (!x || !indices || !outputWeights || !up || !down) return [];
        const sorted = planChoices(indices, up.shape[0] ?? 0);
        const rows = dispatch(x, sorted, inputWeights);
        const layout = { transposed: descriptor.transposed ?? false };
        const project = (of: Tensor, weights: Tensor, bias: Tensor | undefined): Tensor => {
          const product = groupedMatmul(of, weights, rows.offsets, undefined, layout);
          return bias ? add(product, gatherRows(bias, rows.group)) : product;
        };
        const hidden = activated(project(gather(rows), up, upBias), descriptor, clamp.limit);
        return [combine(project(hidden, down, downBias), sorted, outputWeights)];
      });
    },
  },
});

function activated(
  hidden: Tensor,
  { gate, alpha = 1, upOffset = 0 }: FfnDescriptor,
  limit: number,
): Tensor {
  const [rows = 0, width = 0] = hidden.shape;
  const half = width / 2;
  const woven = gate?.packing === "interleaved";
  const flat = hidden.reshape(woven ? [rows, half, 2] : [rows, 2, half]);
  const take = (side: number): Tensor =>
    slice(flat, {
      starts: woven ? [0, 0, side] : [0, side, 0],
      sizes: woven ? [rows, half, 1] : [rows, 1, half],
    }).reshape([rows, half]);
  const first = gate?.first === "gate";
  const opening = maximum(minimum(take(first ? 0 : 1), limit), -limit);
  const passing = minimum(take(first ? 1 : 0), limit);
  return mul(mul(opening, sigmoid(mul(opening, alpha))), add(passing, upOffset));
}
