import type { AttentionAttributes } from "@moiety/core";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which a query sees one key behind itself. */
export const causalOffByOne: BrokenBackend = /*#__PURE__*/ broken({
  name: "causal-off-by-one",
  fault: "a query sees one key behind itself",
  caughtBy: "L4/attention/causal",
  kernels: {
    attention(call) {
      const attributes = call.attributes<AttentionAttributes>();
      const { position } = attributes;
      return call.honest({ ...attributes, position: position + 1 });
    },
  },
});
