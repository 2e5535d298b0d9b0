import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which places without an expert name the last expert. */
export const noExpertIsTheLast: BrokenBackend = /*#__PURE__*/ broken({
  name: "no-expert-is-the-last",
  fault: "places without an expert name the last expert",
  caughtBy: "L1/route/allowed-fewer-than-k",
  kernels: {
    routeTopK: (call) =>
      call.changed(([scores, indices]) => {
        const last = (scores?.width ?? 0) - 1;
        for (let at = 0; at < (indices?.data.length ?? 0); at++) {
          if (indices) indices.data[at] = Math.min(indices.data[at] ?? 0, last);
        }
      }),
  },
});
