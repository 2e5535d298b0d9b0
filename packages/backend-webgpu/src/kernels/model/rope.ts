import { type RopeAttributes, sizeOf } from "@moiety/core";
import type { Kernel } from "../../kernel.ts";
import { f32, read, u32, write } from "../../program.ts";
import { broadcastIndex } from "./broadcast.ts";

/** `rope`: one invocation for each element. */
export const rope: Kernel = (call) => {
  const [x, cos, sin] = [call.input(0), call.input(1), call.input(2)];
  const { interleaved, inverse } = call.attributes<RopeAttributes>();
  const [tokens = 1, heads = 1, width = 1] = x.shape.slice(-3);
  const pairs = cos.shape.at(-1) ?? 0;
  const y = call.make(0);
  const place = broadcastIndex(
    "table",
    x.shape.slice(0, -3),
    cos.shape.slice(0, -2),
    sizeOf(cos.shape.slice(-2)),
  );
  call.dispatch(
    {
      name: "rope",
      variant: `${interleaved ? "interleaved" : "halves"},${place.rank}`,
      operands: {
        x: read(x.handle, "f32"),
        cos: read(cos.handle, "f32"),
        sin: read(sin.handle, "f32"),
        y: write(y, "f32"),
      },
      params: {
        ...place.params,
        count: u32(x.size),
        tokens: u32(tokens),
        heads: u32(heads),
        width: u32(width),
        pairs: u32(pairs),
        sign: f32(inverse ? -1 : 1),
      },
      text: () => ({
        declarations: place.text,
        main: `if (index >= params.count) { return; }
let vector = index / params.width;
let d = index - vector * params.width;
let own = load_x(index);
if (d >= 2u * params.pairs) {
  store_y(index, own);
  return;
}
${interleaved ? INTERLEAVED : HALVES}
let token = vector / params.heads;
let sequence = token / params.tokens;
let at = table_at(sequence) + (token - sequence * params.tokens) * params.pairs + pair;
let other = load_x(index - d + partner) * (load_sin(at) * params.sign);
store_y(index, own * load_cos(at) + select(other, -other, first));`,
      }),
    },
    { invocations: x.size },
  );
  return [y];
};

const INTERLEAVED = `let pair = d / 2u;
let partner = d ^ 1u;
let first = (d & 1u) == 0u;`;

const HALVES = `let first = d < params.pairs;
let pair = select(d - params.pairs, d, first);
let partner = select(d - params.pairs, d + params.pairs, first);`;
