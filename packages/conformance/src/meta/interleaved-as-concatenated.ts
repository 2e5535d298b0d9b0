import type { Attributes, FfnAttributes } from "@moiety/core";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/**
 * A backend in which interleaved halves of an up projection are read as if one stood behind the
 * other.
 */
export const interleavedAsConcatenated: BrokenBackend = /*#__PURE__*/ broken({
  name: "interleaved-as-concatenated",
  fault: "interleaved halves of an up projection are read as if one stood behind the other",
  caughtBy: "L3/moe-ffn/bank-gated-interleaved-gate-first",
  kernels: {
    moeFfn(call) {
      const { descriptor } = call.attributes<FfnAttributes>();
      const { gate } = descriptor;
      if (!gate) return call.honest();
      return call.honest({
        descriptor: { ...descriptor, gate: { ...gate, packing: "concatenated" } },
      } as unknown as Attributes);
    },
  },
});
