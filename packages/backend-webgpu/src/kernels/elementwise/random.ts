import { type RandomKey, sizeOf } from "@moiety/core";
import type { Kernel } from "../../kernel.ts";
import { u32, write } from "../../program.ts";
import { mathText } from "./math.ts";
import { windowsOf } from "./windows.ts";

const ROTATIONS = [
  [13, 15, 26, 6],
  [17, 29, 16, 24],
] as const;

/**
 * WGSL `threefry(block)`: the words of blocks `block` and `block + 1` of Threefry 2×32 with 20
 * rounds, under the key in `params`. Written out: tables in a function are slow where no hardware
 * does the work.
 */
function threefryText(): string {
  const lines = [
    "fn threefry(block: u32) -> vec4<u32> {",
    "let key0 = params.key0; let key1 = params.key1;",
    "let key2 = 0x1bd11bdau ^ key0 ^ key1;",
    "var left = vec2<u32>(block, block + 1u) + key0;",
    "var right = vec2<u32>(key1);",
  ];
  for (let group = 0; group < 5; group++) {
    for (const rotation of ROTATIONS[(group & 1) as 0 | 1]) {
      const turned = `(right << vec2<u32>(${rotation}u)) | (right >> vec2<u32>(${32 - rotation}u))`;
      lines.push("left += right;", `right = (${turned}) ^ left;`);
    }
    lines.push(`left += key${(group + 1) % 3};`);
    lines.push(`right += key${(group + 2) % 3} + ${group + 1}u;`);
  }
  return [...lines, "return vec4<u32>(left.x, right.x, left.y, right.y);", "}"].join("\n");
}

interface Draw {
  readonly type: "vec4<f32>" | "vec4<u32>";
  /** WGSL expression of four results from `bits`. */
  readonly value: string;
  readonly declarations: () => string;
}

/** A kernel that turns random bits into an output. */
function drawing(name: string, { type, value, declarations }: Draw): Kernel {
  return (call) => {
    const { key } = call.attributes<{ key: RandomKey }>();
    const y = call.make(0);
    const count = sizeOf(call.spec(0).shape);
    for (const { start, count: size, segments } of windowsOf(count, [{ handle: y, bytes: 4 }])) {
      const vectors = Math.ceil(size / 4);
      call.dispatch(
        {
          name,
          operands: { y: write(y, type, segments[0]) },
          params: {
            count: u32(vectors),
            block: u32(start / 2),
            key0: u32(key[0]),
            key1: u32(key[1]),
          },
          text: () => ({
            declarations: `${threefryText()}\n${declarations()}`,
            main: `if (index < params.count) {
              let bits = threefry(params.block + 2u * index);
              store_y(index, ${value});
            }`,
          }),
        },
        { invocations: vectors },
      );
    }
    return [y];
  };
}

/** `randomBits`. */
export const randomBits: Kernel = /*#__PURE__*/ drawing("randomBits", {
  type: "vec4<u32>",
  value: "bits",
  declarations: () => "",
});

/** `uniform`: 24 bits are a whole number that f32 holds. */
export const uniform: Kernel = /*#__PURE__*/ drawing("uniform", {
  type: "vec4<f32>",
  value: "vec4<f32>(vec4<i32>(bits >> vec4<u32>(8u))) * 0x1p-24f",
  declarations: () => "",
});

/** `normal`: as core's `hostNormal`, in f32. */
export const normal: Kernel = /*#__PURE__*/ drawing("normal", {
  type: "vec4<f32>",
  value: "quantile(bits >> vec4<u32>(8u))",
  declarations: () => `${mathText(["logarithm"])}\n${QUANTILE}`,
});

/**
 * WGSL `quantile(n)`: inverse of the normal distribution function at (n + ½)·2⁻²⁴, by algorithm AS
 * 241, PPND7 (Wichura, Applied Statistics 37, 1988). With odd = 2n + 1 the argument is odd·2⁻²⁵; what
 * is taken from it as a float, its distance from ½ and from the nearer end, fits 24 bits.
 */
const QUANTILE = `
fn quantile(n: vec4<u32>) -> vec4<f32> {
  let odd = vec4<i32>(2u * n + vec4<u32>(1u));
  let centred = vec4<f32>(odd - vec4<i32>(16777216)) * 0x1p-25f;
  let c = 0.180625 - centred * centred;
  var above = fma(vec4<f32>(59.10937472), c, vec4<f32>(159.29113202));
  above = fma(above, c, vec4<f32>(50.434271938));
  above = fma(above, c, vec4<f32>(3.3871327179));
  var below = fma(vec4<f32>(67.1875636), c, vec4<f32>(78.757757664));
  below = fma(below, c, vec4<f32>(17.895169469));
  below = fma(below, c, vec4<f32>(1.0));
  let centre = centred * (above / below);

  let end = vec4<f32>(min(odd, vec4<i32>(33554432) - odd)) * 0x1p-25f;
  let r = sqrt(-logarithm(end)) - 1.6;
  var top = fma(vec4<f32>(0.17023821103), r, vec4<f32>(1.3067284816));
  top = fma(top, r, vec4<f32>(2.75681539));
  top = fma(top, r, vec4<f32>(1.4234372777));
  var bottom = fma(vec4<f32>(0.12021132975), r, vec4<f32>(0.7370016425));
  bottom = fma(bottom, r, vec4<f32>(1.0));
  let tail = withSign(top / bottom, centred);
  return select(tail, centre, abs(centred) <= vec4<f32>(0.425));
}`;
