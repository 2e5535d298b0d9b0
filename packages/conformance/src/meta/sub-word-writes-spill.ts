import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/**
 * A backend in which host data goes to the device in whole words, so that pieces of odd length
 * spoil their neighbours.
 */
export const subWordWritesSpill: BrokenBackend = /*#__PURE__*/ broken({
  name: "sub-word-writes-spill",
  fault:
    "host data goes to the device in whole words, so that pieces of odd length spoil their neighbours",
  caughtBy: "L0/upload/pieces-u8",
  shows: ["part of a word"],
  driver: (driver) => ({
    write(handle, offset, bytes) {
      const start = offset - (offset % 4);
      const end = Math.min(Math.ceil((offset + bytes.byteLength) / 4) * 4, handle.byteLength);
      const whole = new Uint8Array(end - start);
      whole.set(bytes, offset - start);
      driver.write(handle, start, whole);
    },
  }),
});
