import type { CpuBuffer } from "@moiety/backend-cpu";
import { type Backend, type Capabilities, type RunCall, sizeOf } from "@moiety/core";
import { spoiled } from "../../testing/spoiled.ts";

/** A call with what the oracle answered; the answer may be changed in place. */
export interface Answered {
  readonly call: RunCall<CpuBuffer>;
  /** Each input's elements as 32-bit floats. */
  inputs(index: number): Float32Array;
  /** Each output's elements as 32-bit floats. */
  floats(index: number): Float32Array;
  /** Each output's elements as 32-bit integers. */
  integers(index: number): Int32Array;
}

/** The oracle with the answers of one op changed. */
export function planted(op: string, change: (answered: Answered) => void): Backend {
  return spoiled((driver) => ({
    run(call) {
      const handles = driver.run(call);
      if (call.op.name !== op) return handles;
      const block = (index: number): ArrayBuffer => handles[index]?.block ?? new ArrayBuffer(0);
      const size = (index: number): number => sizeOf(call.outputs[index]?.shape ?? [0]);
      change({
        call,
        inputs(index) {
          const input = call.inputs[index];
          return new Float32Array(
            input?.handle.block ?? new ArrayBuffer(0),
            0,
            sizeOf(input?.shape ?? [0]),
          );
        },
        floats: (index) => new Float32Array(block(index), 0, size(index)),
        integers: (index) => new Int32Array(block(index), 0, size(index)),
      });
      return handles;
    },
  }));
}

/** The oracle with another manifest: claims less, or other precision. */
export function claiming(part: Partial<Capabilities>): Backend {
  return spoiled(({ capabilities }) => ({ capabilities: { ...capabilities, ...part } }));
}
