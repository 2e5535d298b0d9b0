import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which a disposed backend goes on as if nothing had happened. */
export const disposeDoesNothing: BrokenBackend = /*#__PURE__*/ broken({
  name: "dispose-does-nothing",
  fault: "a disposed backend goes on as if nothing had happened",
  caughtBy: "L0/backend/dispose",
  shows: ["disposed"],
  backend: (backend) => Object.assign(backend, { dispose: async () => undefined }),
});
