import type { Kernel, KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { type Operand, read, u32, write } from "../../program.ts";
import { planRows } from "../model/rows.ts";
import { orderText } from "./keys.ts";
import { bestText } from "./best.ts";
import { sortRows } from "./sort.ts";

/** From this k on a row is sorted; below, it is searched k times. */
const SORTED_K = 33;

/** `topK`. */
export const topK: Kernel = (call) => {
  const { k } = call.attributes<{ k: number }>();
  const scores = call.input(0);
  const [values, indices] = [call.make(0), call.make(1)];
  const width = scores.shape.at(-1) ?? 0;
  const rows = k === 0 ? 0 : call.outputSize(0) / k;
  if (k < SORTED_K) searchRows(call, values, indices, { rows, width, k });
  else sortAll(call, values, indices, { rows, width, k });
  return [values, indices];
};

interface Sizes {
  readonly rows: number;
  readonly width: number;
  readonly k: number;
}

function sourcesOf(call: KernelCall): Record<string, Operand> {
  const mask = call.optional(1);
  const x = read(call.input(0).handle, "u32");
  return mask ? { x, mask: read(mask.handle, "u32") } : { x };
}

/** Each round finds what comes next behind the round before. Bits are moved, never floats. */
function searchRows(
  call: KernelCall,
  values: GpuHandle,
  indices: GpuHandle,
  { rows, width, k }: Sizes,
): void {
  const masked = call.optional(1) !== undefined;
  const plan = planRows(call.context, width);
  call.dispatch(
    {
      name: "topK",
      variant: `${plan.lanes}`,
      workgroupSize: plan.workgroupSize,
      operands: {
        ...sourcesOf(call),
        values: write(values, "u32"),
        indices: write(indices, "u32"),
      },
      params: { rows: u32(rows), width: u32(width), k: u32(k) },
      text: () => ({
        declarations: plan.declarations + orderText("f32") + bestText(plan.lanes),
        main: `${plan.begin}
let base = row * params.width;
var last = Choice(0xffffffffu, 0u);
for (var round = 0u; round < params.k; round++) {
  var found = NO_CHOICE;
  for (var i = lane; i < params.width; i += LANES) {
    var key = max(order_of(load_x(base + i)), 1u);
    ${masked ? "if (load_mask(base + i) == 0u) { key = 0u; }" : ""}
    let here = Choice(key, i);
    if (above(last, here) && above(here, found)) { found = here; }
  }
  last = best_of(lane, found);
  if (lane == 0u) {
    store_values(row * params.k + round, load_x(base + last.index));
    store_indices(row * params.k + round, last.index);
  }
}`,
      }),
    },
    plan.extent(rows),
  );
}

function sortAll(
  call: KernelCall,
  values: GpuHandle,
  indices: GpuHandle,
  { rows, width, k }: Sizes,
): void {
  const sources = sourcesOf(call);
  const masked = call.optional(1) !== undefined;
  const { x } = sources as { readonly x: Operand };
  sortRows(call, {
    name: "topKSort",
    variant: masked ? "masked" : "",
    rows,
    width,
    sources,
    results: { x, values: write(values, "u32"), indices: write(indices, "u32") },
    params: { k: u32(k) },
    keys: `${orderText("f32")}
fn key_of(place: u32) -> u32 {
  ${masked ? "if (load_mask(place) == 0u) { return 0xffffffffu; }" : ""}
  return ~max(order_of(load_x(place)), 1u);
}
fn tag_of(place: u32, i: u32) -> u32 { return i; }
`,
    finish: `
fn finish(row: u32, rank: u32, key: u32, tag: u32) {
  if (rank >= params.k) { return; }
  store_values(row * params.k + rank, load_x(row * params.width + tag));
  store_indices(row * params.k + rank, tag);
}`,
  });
}
