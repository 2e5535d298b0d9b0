import { hasNaN } from "./parts/rows.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which NaN in one token's logits reaches the other tokens of its group of four. */
export const nanBleedsBetweenTokens: BrokenBackend = /*#__PURE__*/ broken({
  name: "nan-bleeds-between-tokens",
  fault: "NaN in one token's logits reaches the other tokens of its group of four",
  caughtBy: "L1/route/nan-no-bleed-softmax",
  kernels: {
    routeTopK: (call) =>
      call.changed(([scores], [logits]) => {
        if (!scores || !logits) return;
        for (let row = 0; row < logits.rows; row++) {
          if (!hasNaN(logits, row)) continue;
          const first = row - (row % 4);
          scores.data.fill(Number.NaN, first * scores.width, (first + 4) * scores.width);
        }
      }),
  },
});
