import type { Kernel } from "../../kernel.ts";
import { type Operand, read, write } from "../../program.ts";
import { orderText } from "./keys.ts";
import { sortRows } from "./sort.ts";

/** `argsort`. A masked element's tag is above those of all others, as its key is at least theirs. */
export const argsort: Kernel = (call) => {
  const x = call.input(0);
  const mask = call.optional(1);
  const { descending } = call.attributes<{ descending?: boolean | undefined }>();
  const order = call.make(0);
  const width = x.shape.at(-1) ?? 0;
  const sources: Record<string, Operand> = { x: read(x.handle, "u32") };
  if (mask) sources["mask"] = read(mask.handle, "u32");
  const hidden = mask ? "load_mask(place) == 0u" : "false";
  sortRows(call, {
    name: "argsort",
    variant: `${x.dtype},${descending ? "down" : "up"}`,
    rows: width === 0 ? 0 : x.size / width,
    width,
    sources,
    results: { order: write(order, "u32") },
    keys: `${orderText(x.dtype)}
fn key_of(place: u32) -> u32 {
  if (${hidden}) { return 0xffffffffu; }
  return ${descending ? "~" : ""}order_of(load_x(place));
}
fn tag_of(place: u32, i: u32) -> u32 { return select(i, i | 0x80000000u, ${hidden}); }
`,
    finish: `
fn finish(row: u32, rank: u32, key: u32, tag: u32) {
  store_order(row * params.width + rank, tag & 0x7fffffffu);
}`,
  });
  return [order];
};
