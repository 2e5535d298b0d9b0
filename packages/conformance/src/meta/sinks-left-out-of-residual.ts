import { attention } from "@moiety/core";
import { decompositionOf, residualOfAttention } from "./parts/base-driver.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which what attention keeps for its backward leaves the sinks out. */
export const sinksLeftOutOfResidual: BrokenBackend = /*#__PURE__*/ broken({
  name: "sinks-left-out-of-residual",
  fault: "what attention keeps for its backward leaves the sinks out",
  caughtBy: "L4/grad/attention-sinks",
  kernels: {
    attention: (call) =>
      call.tensors((inputs, attributes) => {
        const outputs = decompositionOf(attention)(inputs, attributes);
        if (call.call.residuals.length === 0) return outputs;
        return [...outputs, residualOfAttention(inputs.slice(0, 4), attributes)];
      }),
  },
});
