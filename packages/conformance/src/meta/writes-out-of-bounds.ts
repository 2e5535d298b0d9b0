import type { CpuBuffer } from "@moiety/backend-cpu";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/**
 * A backend in which writeSlice writes whole blocks of 256 words, beyond its output into what
 * stands next to it.
 */
export const writesOutOfBounds: BrokenBackend = /*#__PURE__*/ broken({
  name: "writes-out-of-bounds",
  fault:
    "writeSlice writes whole blocks of 256 words, beyond its output into what stands next to it",
  caughtBy: "L0/write-slice/f32",
  shows: ["writeSlice"],
  driver(driver) {
    // A heap that grows downwards: behind a buffer stand those that are older.
    const heap = new Set<CpuBuffer>();
    return {
      allocate(spec) {
        const handle = driver.allocate(spec);
        heap.add(handle);
        return handle;
      },
      free(handle) {
        heap.delete(handle);
        driver.free(handle);
      },
      run(call) {
        const handles = driver.run(call);
        const older = [...heap];
        for (const handle of handles) heap.add(handle);
        const [written] = handles;
        if (call.op.name !== "writeSlice" || !written) return handles;
        let excess = Math.ceil(written.byteLength / 1024) * 1024 - written.byteLength;
        for (const neighbour of older.toReversed()) {
          if (excess <= 0) break;
          if (neighbour === written) continue;
          new Uint8Array(neighbour.block).fill(0xab, 0, excess);
          excess -= neighbour.byteLength;
        }
        return handles;
      },
    };
  },
});
