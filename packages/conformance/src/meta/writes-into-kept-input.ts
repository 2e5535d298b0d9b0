import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which putAlong writes into its input though nobody donated it. */
export const writesIntoKeptInput: BrokenBackend = /*#__PURE__*/ broken({
  name: "writes-into-kept-input",
  fault: "putAlong writes into its input though nobody donated it",
  caughtBy: "L2/put-along/keeps-input",
  kernels: {
    putAlong: (call) =>
      call.changed(([result], [x]) => {
        if (result) x?.data.set(result.data);
      }),
  },
});
