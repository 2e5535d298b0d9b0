import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/**
 * A backend in which what is read is the device's own memory, so that who changes it changes the
 * tensor.
 */
export const readsHandOutMemory: BrokenBackend = /*#__PURE__*/ broken({
  name: "reads-hand-out-memory",
  fault: "what is read is the device's own memory, so that who changes it changes the tensor",
  caughtBy: "L0/tensor/host-data",
  driver: (driver) => ({
    async read(handle, offset, length) {
      await driver.read(handle, offset, length);
      return new Uint8Array(handle.block, offset, length);
    },
  }),
});
