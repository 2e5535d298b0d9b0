import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which groups are ranked by their best expert, whatever the router says. */
export const groupsByBestExpert: BrokenBackend = /*#__PURE__*/ broken({
  name: "groups-by-best-expert",
  fault: "groups are ranked by their best expert, whatever the router says",
  caughtBy: "L1/route/groups-sum-differs-from-max",
  kernels: {
    routeTopK(call) {
      const { groups, ...spec } = call.call.attributes;
      const limited = typeof groups === "object" && groups !== null && !Array.isArray(groups);
      return limited
        ? call.honest({ ...spec, groups: { ...groups, score: "max" } })
        : call.honest();
    },
  },
});
