import { OutOfMemoryError } from "@moiety/core";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which an allocation that does not fit throws a plain error. */
export const untypedOutOfMemory: BrokenBackend = /*#__PURE__*/ broken({
  name: "untyped-out-of-memory",
  fault: "an allocation that does not fit throws a plain error",
  caughtBy: "L0/limits/total-bytes",
  shows: ["out of memory"],
  driver(driver) {
    const untyped = <Result>(body: () => Result): Result => {
      try {
        return body();
      } catch (error) {
        throw error instanceof OutOfMemoryError ? new RangeError(error.message) : error;
      }
    };
    return {
      allocate: (spec) => untyped(() => driver.allocate(spec)),
      run: (call) => untyped(() => driver.run(call)),
    };
  },
});
