import { DeviceLostError } from "@moiety/core";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/**
 * A backend in which after recover() tensors of the lost device can be read as if they were still
 * there.
 */
export const lostTensorsRevive: BrokenBackend = /*#__PURE__*/ broken({
  name: "lost-tensors-revive",
  fault: "after recover() tensors of the lost device can be read as if they were still there",
  caughtBy: "L4/device-loss/recover",
  shows: ["device lost"],
  driver(driver) {
    let recovered = false;
    return {
      async recover() {
        await driver.recover();
        recovered = true;
      },
      async read(handle, offset, length) {
        try {
          return await driver.read(handle, offset, length);
        } catch (error) {
          if (!recovered || !(error instanceof DeviceLostError)) throw error;
          return new Uint8Array(handle.block.slice(offset, offset + length));
        }
      },
    };
  },
});
