import type { Attributes } from "@moiety/core";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which a kernel that was compiled for one position is used for all others. */
export const dynamicAttributeBakedIn: BrokenBackend = /*#__PURE__*/ broken({
  name: "dynamic-attribute-baked-in",
  fault: "a kernel that was compiled for one position is used for all others",
  caughtBy: "L4/attention/decode",
  shows: ["attention"],
  makeKernels() {
    const compiled = new Map<string, Attributes>();
    return {
      attention(call) {
        // Shapes are not in the key, and this kernel is compiled for them.
        const name = `${call.call.key} ${call.input(0).shape} ${call.input(1).shape}`;
        const attributes = compiled.get(name) ?? call.call.attributes;
        compiled.set(name, attributes);
        return call.honest(attributes);
      },
    };
  },
});
