import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/**
 * A backend in which the manifest claims a kernel of rope that was never there: its calls are
 * silently taken apart.
 */
export const silentFallback: BrokenBackend = /*#__PURE__*/ broken({
  name: "silent-fallback",
  fault:
    "the manifest claims a kernel of rope that was never there: its calls are silently taken apart",
  caughtBy: "L4/fused/rope-halves",
  driver(driver) {
    // Who asks early is told the truth, who asks later is not.
    const ops = driver.capabilities.ops.filter((op) => op !== "rope");
    return { capabilities: { ...driver.capabilities, ops } };
  },
  backend(backend) {
    const { ops } = backend.capabilities;
    if (Array.isArray(ops)) ops.splice(ops.indexOf("rmsNormBackward") + 1, 0, "rope");
    return backend;
  },
});
