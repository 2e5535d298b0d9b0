import {
  type FfnAttributes,
  moeFfn,
  roundBlocks,
  roundsActivations,
  storedFormat,
} from "@moiety/core";
import type { Attributes } from "@moiety/core";
import { decompositionOf } from "./parts/base-driver.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which only the first product of experts reads rounded rows. */
export const hiddenNotRounded: BrokenBackend = /*#__PURE__*/ broken({
  name: "hidden-not-rounded",
  fault: "experts round what comes in, but not the hidden values that their second product reads",
  caughtBy: "L3/quantised/q8_block32_a8-silu",
  kernels: {
    moeFfn(call) {
      const { descriptor } = call.attributes<FfnAttributes>();
      const { format } = descriptor;
      if (!format || !roundsActivations(format)) return call.honest();
      const stored = { descriptor: { ...descriptor, format: storedFormat(format) } };
      return call.tensors((inputs) => {
        const [x] = inputs;
        if (!x) return [];
        const rounded = inputs.with(0, roundBlocks(x));
        return decompositionOf(moeFfn)(rounded, stored as unknown as Attributes);
      });
    },
  },
});
