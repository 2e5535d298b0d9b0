import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which random bits come from another generator than Threefry. */
export const otherRandomBits: BrokenBackend = /*#__PURE__*/ broken({
  name: "other-random-bits",
  fault: "random bits come from another generator than Threefry",
  caughtBy: "L0/random/bits",
  kernels: {
    randomBits: (call) =>
      call.changed(([bits]) => {
        let state = (call.attributes<{ key: readonly number[] }>().key[1] ?? 0) | 1;
        for (let at = 0; at < (bits?.data.length ?? 0); at++) {
          state ^= state << 13;
          state ^= state >>> 17;
          state ^= state << 5;
          if (bits) bits.data[at] = state >>> 0;
        }
      }),
  },
});
