import type { AttentionAttributes } from "@moiety/core";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which a query sees one key more than its window holds. */
export const windowOffByOne: BrokenBackend = /*#__PURE__*/ broken({
  name: "window-off-by-one",
  fault: "a query sees one key more than its window holds",
  caughtBy: "L4/attention/window",
  kernels: {
    attention(call) {
      const attributes = call.attributes<AttentionAttributes>();
      const { window = Number.POSITIVE_INFINITY } = attributes;
      return call.honest({ ...attributes, window: window + 1 });
    },
  },
});
