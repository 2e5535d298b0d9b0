import { moeFfn } from "@moiety/core";
import { decompositionOf } from "./parts/base-driver.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which weights that apply to the inputs of experts are left out. */
export const inputWeightsIgnored: BrokenBackend = /*#__PURE__*/ broken({
  name: "input-weights-ignored",
  fault: "weights that apply to the inputs of experts are left out",
  caughtBy: "L3/moe-ffn/bank-input-weights",
  kernels: {
    moeFfn: (call) =>
      call.tensors((inputs, attributes) =>
        decompositionOf(moeFfn)(inputs.with(7, undefined), attributes),
      ),
  },
});
