import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which argsort turns the order of equals round. */
export const unstableSort: BrokenBackend = /*#__PURE__*/ broken({
  name: "unstable-sort",
  fault: "argsort turns the order of equals round",
  caughtBy: "L1/argsort/stable",
  kernels: {
    argsort: (call) =>
      call.changed(([order], [x, mask]) => {
        if (!order || !x) return;
        for (let row = 0; row < order.rows; row++) {
          const start = row * order.width;
          const shown = (id: number): boolean => mask === undefined || mask.data[start + id] === 1;
          const ids = order.data.subarray(start, start + order.width);
          for (let from = 0; from < ids.length;) {
            const value = x.data[start + (ids[from] ?? 0)];
            let to = from + 1;
            while (to < ids.length && x.data[start + (ids[to] ?? 0)] === value) to++;
            if (shown(ids[from] ?? 0) && shown(ids[to - 1] ?? 0)) ids.subarray(from, to).reverse();
            from = to;
          }
        }
      }),
  },
});
