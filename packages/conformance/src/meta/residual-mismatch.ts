import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/**
 * A backend in which crossEntropy keeps each row's maximum where its backward expects the
 * logSumExp.
 */
export const residualMismatch: BrokenBackend = /*#__PURE__*/ broken({
  name: "residual-mismatch",
  fault: "crossEntropy keeps each row's maximum where its backward expects the logSumExp",
  caughtBy: "L4/fused/crossEntropyBackward",
  kernels: {
    crossEntropy: (call) =>
      call.changed(([, residual], [logits]) => {
        if (!residual || !logits) return;
        for (let row = 0; row < logits.rows; row++) {
          const start = row * logits.width;
          residual.data[row] = Math.max(...logits.data.subarray(start, start + logits.width));
        }
      }),
    crossEntropyBackward(call) {
      const [logits, targets, residual, upstream] = [0, 1, 2, 3].map((at) => call.input(at));
      const { handles, outputs } = call.make();
      const [gradient] = outputs;
      if (!gradient || !logits || !targets || !residual || !upstream) return handles;
      for (let at = 0; at < gradient.data.length; at++) {
        const row = Math.floor(at / gradient.width);
        const target = targets.data[row] ?? -1;
        const counts = target >= 0 && target < gradient.width;
        const share = Math.exp((logits.data[at] ?? 0) - (residual.data[row] ?? 0));
        const hit = target === at % gradient.width ? 1 : 0;
        gradient.data[at] = counts ? (share - hit) * (upstream.data[row] ?? 0) : 0;
      }
      return handles;
    },
  },
});
