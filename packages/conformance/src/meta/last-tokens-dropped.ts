import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which a batch of tokens beyond its last whole tile of 32 is not computed. */
export const lastTokensDropped: BrokenBackend = /*#__PURE__*/ broken({
  name: "last-tokens-dropped",
  fault: "a batch of tokens beyond its last whole tile of 32 is not computed",
  caughtBy: "L3/moe-ffn/tokens-33",
  kernels: {
    moeFfn: (call) =>
      call.changed(([y]) => {
        if (!y || y.rows < 32) return;
        y.data.fill(0, (y.rows - (y.rows % 32)) * y.width);
      }),
  },
});
