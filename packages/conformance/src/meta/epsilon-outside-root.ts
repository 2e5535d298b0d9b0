import { type RmsNormAttributes, add, div, mean, mul, sqrt, square } from "@moiety/core";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which the norm adds ε to the root mean square instead of the mean square. */
export const epsilonOutsideRoot: BrokenBackend = /*#__PURE__*/ broken({
  name: "epsilon-outside-root",
  fault: "the norm adds ε to the root mean square instead of the mean square",
  caughtBy: "L4/rms-norm/epsilon",
  kernels: {
    rmsNorm: (call) =>
      call.tensors(([x, weight]) => {
        const { epsilon } = call.attributes<RmsNormAttributes>();
        if (!x || !weight) return [];
        const root = add(sqrt(mean(square(x), [-1], true)), epsilon);
        return [mul(div(x, root), weight)];
      }),
  },
});
