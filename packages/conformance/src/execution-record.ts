import type { Backend } from "@moiety/core";
import { allOps } from "@moiety/core/ops";
import { CaseFailure } from "./failure.ts";

/**
 * Holds a backend's execution record to its manifest: a claimed op runs as a kernel.
 *
 * A fused op without its backward, or one whose weights may be in a format of their own, may run
 * decomposed though it is claimed; the manifest says when.
 * @throws CaseFailure
 */
export function checkRecord(backend: Pick<Backend, "record" | "capabilities">): void {
  const { ops } = backend.capabilities;
  const record = backend.record();
  for (const { name, definition } of allOps) {
    const entry = record[name];
    if (entry === undefined || !ops.includes(name)) continue;
    const backward = definition.backward?.();
    const whole = backward === undefined || ops.includes(backward.name);
    if (!whole || definition.format !== undefined || entry.decomposed === 0) continue;
    throw new CaseFailure(
      `the manifest claims ${name}, but ${entry.decomposed} of its calls ran decomposed`,
    );
  }
}
