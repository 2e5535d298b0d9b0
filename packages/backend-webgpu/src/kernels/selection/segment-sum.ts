import { sizeOf } from "@moiety/core";
import type { Kernel } from "../../kernel.ts";
import { read, u32, write } from "../../program.ts";

/**
 * `segmentSum`: one invocation for each segment and four columns (or one). It finds its rows by
 * binary search and adds them in their order, in blocks of 64.
 */
export const segmentSum: Kernel = (call) => {
  const rows = call.input(0);
  const ids = call.input(1);
  const y = call.make(0);
  const width = sizeOf(rows.shape.slice(1));
  const type = width % 4 === 0 ? "vec4<f32>" : "f32";
  const columns = width / (type === "f32" ? 1 : 4);
  const segments = call.spec(0).shape[0] ?? 0;
  call.dispatch(
    {
      name: "segmentSum",
      operands: { x: read(rows.handle, type), ids: read(ids.handle, "i32"), y: write(y, type) },
      params: { segments: u32(segments), columns: u32(columns), count: u32(ids.size) },
      text: () => ({
        declarations: `
fn first_from(id: i32) -> u32 {
  var low = 0u;
  var high = params.count;
  while (low < high) {
    let middle = (low + high) / 2u;
    if (load_ids(middle) < id) { low = middle + 1u; } else { high = middle; }
  }
  return low;
}`,
        main: `if (index >= params.segments * params.columns) { return; }
let segment = i32(index / params.columns);
let column = index % params.columns;
let last = first_from(segment + 1);
var total = ${type}();
for (var begin = first_from(segment); begin < last; begin += 64u) {
  let end = min(last, begin + 64u);
  var part = ${type}();
  for (var row = begin; row < end; row++) { part += load_x(row * params.columns + column); }
  total += part;
}
store_y(index, total);`,
      }),
    },
    { invocations: segments * columns },
  );
  return [y];
};
