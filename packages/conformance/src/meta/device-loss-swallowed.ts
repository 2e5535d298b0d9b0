import { DeviceLostError } from "@moiety/core";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which what was on a lost device reads as zeros instead of an error. */
export const deviceLossSwallowed: BrokenBackend = /*#__PURE__*/ broken({
  name: "device-loss-swallowed",
  fault: "what was on a lost device reads as zeros instead of an error",
  caughtBy: "L0/device-loss/reads-reject",
  shows: ["device lost"],
  driver: (driver) => ({
    async read(handle, offset, length) {
      try {
        return await driver.read(handle, offset, length);
      } catch (error) {
        if (error instanceof DeviceLostError) return new Uint8Array(length);
        throw error;
      }
    },
  }),
});
