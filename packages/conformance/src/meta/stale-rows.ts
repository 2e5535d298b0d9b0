import type { CpuBuffer } from "@moiety/backend-cpu";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/**
 * A backend in which rows outside the window are not written and hold what was in that memory
 * before.
 */
export const staleRows: BrokenBackend = /*#__PURE__*/ broken({
  name: "stale-rows",
  fault: "rows outside the window are not written and hold what was in that memory before",
  caughtBy: "L3/grouped-matmul/window",
  shows: ["groupedMatmul"],
  driver(driver) {
    let freed = new Uint8Array(0);
    const stale = (handle: CpuBuffer, start: number, end: number): void => {
      const bytes = new Uint8Array(handle.block);
      for (let at = start; at < end && freed.length > 0; at++) {
        bytes[at] = freed[at % freed.length] ?? 0;
      }
    };
    return {
      free(handle) {
        if (handle.byteLength > 0) freed = new Uint8Array(handle.block.slice(0, 4096));
        driver.free(handle);
      },
      run(call) {
        const handles = driver.run(call);
        const [offsets, [product], [spec]] = [call.inputs[2], handles, call.outputs];
        if (call.op.name !== "groupedMatmul" || !offsets || !product || !spec) return handles;
        const ends = new Int32Array(offsets.handle.block, 0, offsets.shape[0]);
        const [rows = 0, columns = 0] = spec.shape;
        const width = columns * (spec.dtype === "f64" ? 8 : 4);
        stale(product, 0, (ends[0] ?? 0) * width);
        stale(product, (ends.at(-1) ?? 0) * width, rows * width);
        return handles;
      },
    };
  },
});
