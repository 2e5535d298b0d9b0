import { minimum, moeFfn } from "@moiety/core";
import { decompositionOf } from "./parts/base-driver.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which choices without an expert are given to the last one. */
export const noExpertRunsTheLast: BrokenBackend = /*#__PURE__*/ broken({
  name: "no-expert-runs-the-last",
  fault: "choices without an expert are given to the last one",
  caughtBy: "L3/moe-ffn/no-expert",
  kernels: {
    moeFfn: (call) =>
      call.tensors((inputs, attributes) => {
        const [, indices, , up] = inputs;
        const last = Math.max((up?.shape[0] ?? 1) - 1, 0);
        const given = indices && minimum(indices, last);
        return decompositionOf(moeFfn)(inputs.with(1, given), attributes);
      }),
  },
});
