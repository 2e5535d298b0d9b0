import { moeFfn } from "@moiety/core";
import { decompositionOf } from "./parts/base-driver.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which the bias of the down projection is left out. */
export const expertBiasDropped: BrokenBackend = /*#__PURE__*/ broken({
  name: "expert-bias-dropped",
  fault: "the bias of the down projection is left out",
  caughtBy: "L3/moe-ffn/bank-down-bias",
  kernels: {
    moeFfn: (call) =>
      call.tensors((inputs, attributes) =>
        decompositionOf(moeFfn)(inputs.with(6, undefined), attributes),
      ),
  },
});
