/**
 * A backend over an engine of its own, written against the public contract alone. The default
 * export makes it; the conformance kit also takes `loseDevice` from here.
 */
import { defineBackend } from "@moiety/core";
import { HeapDriver } from "./driver.js";

/** @typedef {import("@moiety/core").Backend} Backend */

/**
 * Which driver is behind a backend, for `loseDevice`.
 *
 * @type {WeakMap<Backend, HeapDriver>}
 */
const drivers = new WeakMap();

/**
 * Makes a backend whose tensors live in one flat heap.
 *
 * @param {import("./driver.js").HeapOptions} [options]
 * @returns {Promise<Backend>}
 */
export default async function create(options) {
  const driver = new HeapDriver(options);
  const backend = defineBackend(driver);
  drivers.set(backend, driver);
  return backend;
}

/**
 * Takes the heap away from a backend, as a driver crash takes a GPU away.
 *
 * @param {Backend} backend
 */
export async function loseDevice(backend) {
  drivers.get(backend)?.lose();
}
