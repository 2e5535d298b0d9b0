/** @typedef {{ largest: number, stop(): void }} Watch */

const KINDS = /** @type {const} */ ([
  "ArrayBuffer",
  "Uint8Array",
  "Uint16Array",
  "Int32Array",
  "Uint32Array",
  "Float32Array",
  "Float64Array",
]);

/**
 * Watches how many bytes arrays are made of, wherever that is, until it is stopped. What is larger than
 * `most` is refused, so that nothing that a file claims can take the machine's memory.
 *
 * @param {number} most
 * @returns {Watch}
 */
export function watchAllocations(most) {
  /** @type {Watch} */
  const watch = { largest: 0, stop: () => restore() };
  /** @type {Record<string, unknown>} */
  const host = /** @type {never} */ (globalThis);
  const real = KINDS.map((kind) => [kind, globalThis[kind]]);
  for (const kind of KINDS) {
    const Kind = globalThis[kind];
    const width = "BYTES_PER_ELEMENT" in Kind ? Kind.BYTES_PER_ELEMENT : 1;
    host[kind] = new Proxy(Kind, {
      construct(target, args, newTarget) {
        const bytes = typeof args[0] === "number" ? args[0] * width : 0;
        watch.largest = Math.max(watch.largest, bytes);
        if (bytes > most) throw new RangeError(`${bytes} bytes were asked for`);
        return Reflect.construct(target, args, newTarget === host[kind] ? target : newTarget);
      },
    });
  }
  const restore = () => {
    for (const [kind, Kind] of real) host[String(kind)] = Kind;
  };
  return watch;
}
