import type { CpuBuffer } from "@moiety/backend-cpu";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which the manifest claims f64, but its tensors are kept as 32-bit floats. */
export const claimsLossyDtype: BrokenBackend = /*#__PURE__*/ broken({
  name: "claims-lossy-dtype",
  fault: "the manifest claims f64, but its tensors are kept as 32-bit floats",
  caughtBy: "L0/tensor/round-trip-f64",
  shows: ["f64"],
  driver(driver) {
    const doubles = new WeakSet<CpuBuffer>();
    return {
      allocate(spec) {
        const handle = driver.allocate(spec);
        if (spec.dtype === "f64") doubles.add(handle);
        return handle;
      },
      write(handle, offset, bytes) {
        driver.write(handle, offset, bytes);
        if (!doubles.has(handle)) return;
        const values = new Float64Array(handle.block, offset, bytes.byteLength / 8);
        values.set(Float32Array.from(values));
      },
    };
  },
});
