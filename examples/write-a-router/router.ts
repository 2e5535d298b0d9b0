import { type RouteSpec, type RouteStages, less, max, select, sub, topK } from "@moiety/core";
import { linearRouter } from "@moiety/routers";

const spec: RouteSpec = { experts: 8, topK: 2, score: "softmax", renormalize: { epsilon: 1e-9 } };
// A token takes its second expert only where it comes close to the first.
const close: RouteStages["select"] = ({ logits }, { topK: k }) => {
  const [values, indices] = topK(logits, undefined, { k });
  const near = less(sub(max(values, [1], true), values), 0.5);
  return select(near, indices, spec.experts); // one past the last: no expert
};
const stages = { select: close };
export const router = linearRouter({ inputSize: 16, initializerRange: 0.2, spec, stages });
