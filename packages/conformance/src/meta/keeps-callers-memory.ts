import type { CpuBuffer } from "@moiety/backend-cpu";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which host data is not copied when it is handed over, but at the next call. */
export const keepsCallersMemory: BrokenBackend = /*#__PURE__*/ broken({
  name: "keeps-callers-memory",
  fault: "host data is not copied when it is handed over, but at the next call",
  caughtBy: "L0/tensor/host-data",
  driver(driver) {
    type Waiting = readonly [handle: CpuBuffer, offset: number, bytes: Uint8Array];
    let waiting: Waiting[] = [];
    const flush = (): void => {
      const due = waiting;
      waiting = [];
      for (const [handle, offset, bytes] of due) driver.write(handle, offset, bytes);
    };
    return {
      write: (handle, offset, bytes) => void waiting.push([handle, offset, bytes]),
      free(handle) {
        waiting = waiting.filter(([one]) => one !== handle);
        driver.free(handle);
      },
      read(handle, offset, length) {
        flush();
        return driver.read(handle, offset, length);
      },
      run(call) {
        flush();
        return driver.run(call);
      },
    };
  },
});
