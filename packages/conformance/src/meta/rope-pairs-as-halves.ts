import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which interleaved pairs are turned as if they were the two halves. */
export const ropePairsAsHalves: BrokenBackend = /*#__PURE__*/ broken({
  name: "rope-pairs-as-halves",
  fault: "interleaved pairs are turned as if they were the two halves",
  caughtBy: "L4/rope/interleaved",
  kernels: {
    rope: (call) => call.honest({ ...call.call.attributes, interleaved: false }),
  },
});
