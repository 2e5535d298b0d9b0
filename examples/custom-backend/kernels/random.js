/**
 * Draws. On a CPU core's own generator will do; a device needs Threefry 2×32 in its language, and
 * `hostBits` to compare with.
 */
import { hostBits, hostNormal, hostUniform } from "@moiety/core";

/** @typedef {import("../kernels.js").Kernel} Kernel */

/** @type {Kernel} */
export const randomBits = ({ outputs: [y], attributes: { key } }) => {
  y.data.set(hostBits(key, y.data.length));
};

/** @type {Kernel} */
export const uniform = ({ outputs: [y], attributes: { key } }) => {
  y.data.set(hostUniform(key, y.data.length));
};

/** @type {Kernel} */
export const normal = ({ outputs: [y], attributes: { key } }) => {
  y.data.set(hostNormal(key, y.data.length));
};
