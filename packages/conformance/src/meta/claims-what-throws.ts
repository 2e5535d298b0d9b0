import { UnsupportedError } from "@moiety/core";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which the manifest claims cumsum, but calling it throws. */
export const claimsWhatThrows: BrokenBackend = /*#__PURE__*/ broken({
  name: "claims-what-throws",
  fault: "the manifest claims cumsum, but calling it throws",
  caughtBy: "L0/capabilities/kernel-cumsum",
  kernels: {
    cumsum() {
      throw new UnsupportedError("cumsum is not there yet", "cumsum");
    },
  },
});
