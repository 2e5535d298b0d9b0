import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which experts that nobody chose get the gradient of the expert before them. */
export const unusedExpertsGradient: BrokenBackend = /*#__PURE__*/ broken({
  name: "unused-experts-gradient",
  fault: "experts that nobody chose get the gradient of the expert before them",
  caughtBy: "L3/grad/unused-experts",
  kernels: {
    moeFfnBackward: (call) =>
      call.changed(([, , up], [, , , indices]) => {
        if (!up || !indices) return;
        const [experts = 0] = up.shape;
        const size = up.data.length / Math.max(experts, 1);
        for (let expert = 1; expert < experts; expert++) {
          if (indices.data.includes(expert)) continue;
          up.data.copyWithin(expert * size, (expert - 1) * size, expert * size);
        }
      }),
  },
});
