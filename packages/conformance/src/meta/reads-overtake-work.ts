import type { CpuBuffer } from "@moiety/backend-cpu";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/**
 * A backend in which when eight reads are under way, the next does not wait for the work that was
 * queued last.
 */
export const readsOvertakeWork: BrokenBackend = /*#__PURE__*/ broken({
  name: "reads-overtake-work",
  fault: "when eight reads are under way, the next does not wait for the work that was queued last",
  caughtBy: "L0/read/in-flight",
  shows: ["eight reads"],
  driver(driver) {
    let queued: readonly CpuBuffer[] = [];
    let reading = 0;
    return {
      run(call) {
        queued = driver.run(call);
        return queued;
      },
      async read(handle, offset, length) {
        const early = reading >= 8 && queued.includes(handle);
        reading++;
        try {
          const bytes = await driver.read(handle, offset, length);
          await Promise.resolve();
          return early ? new Uint8Array(length) : bytes;
        } finally {
          reading--;
        }
      },
    };
  },
});
