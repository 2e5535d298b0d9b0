import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/**
 * A backend in which where its moments are donated adamW writes the first before it has read it for
 * the parameter.
 */
export const donatedInputReadLate: BrokenBackend = /*#__PURE__*/ broken({
  name: "donated-input-read-late",
  fault:
    "where its moments are donated adamW writes the first before it has read it for the parameter",
  caughtBy: "L4/adam-w/donated",
  kernels: {
    adamW(call) {
      if (!call.call.inputs[2]?.donated) return call.honest();
      const first = call.input(2);
      const early = call.honest();
      const [, moved] = early;
      // The first moment is overwritten, and then moved once more by what reads it.
      if (moved) first.data.set(new Float32Array(moved.block, 0, first.data.length));
      for (const handle of early) call.driver.free(handle);
      return call.honest();
    },
  },
});
