import type { Attributes, FfnAttributes } from "@moiety/core";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which gelu is computed by its approximation with tanh. */
export const geluByTanh: BrokenBackend = /*#__PURE__*/ broken({
  name: "gelu-by-tanh",
  fault: "gelu is computed by its approximation with tanh",
  caughtBy: "L3/moe-ffn/bank-gelu",
  kernels: {
    moeFfn(call) {
      const { descriptor } = call.attributes<FfnAttributes>();
      if (descriptor.activation !== "gelu") return call.honest();
      const other = { ...descriptor, activation: "geluTanh" };
      return call.honest({ descriptor: other } as unknown as Attributes);
    },
  },
});
