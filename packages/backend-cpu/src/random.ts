import { type RandomKey, hostBits, hostNormal, hostUniform, sizeOf } from "@moiety/core";
import type { Kernel } from "./kernel.ts";

/** A kernel that stores `count` numbers drawn by a key. */
function drawing(draw: (key: RandomKey, count: number) => Uint32Array | Float64Array): Kernel {
  return (call) => {
    const { key } = call.attributes<{ key: RandomKey }>();
    const buffer = call.make(0);
    call.view(0, buffer).set(draw(key, sizeOf(call.spec(0).shape)));
    return [buffer];
  };
}

/** u32 words of Threefry 2×32. */
export const randomBits: Kernel = /*#__PURE__*/ drawing(hostBits);

/** Uniform numbers in [0, 1). */
export const uniform: Kernel = /*#__PURE__*/ drawing(hostUniform);

/** Standard normal numbers. */
export const normal: Kernel = /*#__PURE__*/ drawing(hostNormal);
