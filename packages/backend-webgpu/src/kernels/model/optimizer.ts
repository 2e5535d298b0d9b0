import type { AdamWAttributes } from "@moiety/core";
import type { Kernel } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { type Operand, f32, read, u32, write } from "../../program.ts";

/** Places in the inputs of what is written. */
const WRITTEN = { p: 0, m: 2, v: 3 } as const;

/** `adamW`: segment by segment, so that seven tensors always fit the device's bindings. */
export const adamW: Kernel = (call) => {
  const inputs = [0, 1, 2, 3].map((index) => call.input(index).handle) as [
    GpuHandle,
    GpuHandle,
    GpuHandle,
    GpuHandle,
  ];
  const names = ["p", "m", "v"] as const;
  const outputs = names.map(
    (name, index) => call.donated(WRITTEN[name], index) ?? call.make(index),
  );
  const count = Math.ceil(call.outputSize(0) / 4);
  const span = inputs[0].segmentBytes / 16;
  const places = names.map((name, index) => (outputs[index] === inputs[WRITTEN[name]] ? 1 : 0));
  for (let segment = 0; segment * span < count; segment++) {
    const part = Math.min(span, count - segment * span);
    const operands: Record<string, Operand> = { g: read(inputs[1], "vec4<f32>", segment) };
    for (const [index, name] of names.entries()) {
      const target = outputs[index] as GpuHandle;
      operands[`${name}_new`] = write(target, "vec4<f32>", segment);
      if (!places[index]) operands[name] = read(inputs[WRITTEN[name]], "vec4<f32>", segment);
    }
    call.dispatch(
      {
        name: "adamW",
        variant: places.join(""),
        operands,
        params: { count: u32(part), ...rates(call.attributes<AdamWAttributes>()) },
        text: () => {
          const old = (name: string, index: number): string =>
            places[index] ? `load_${name}_new(index)` : `load_${name}(index)`;
          return {
            main: `if (index >= params.count) { return; }
let g = load_g(index);
let m = ${old("m", 1)} * params.keep_first + g * params.take_first;
let v = ${old("v", 2)} * params.keep_second + g * g * params.take_second;
let root = sqrt(v) / params.spread + params.epsilon;
store_p_new(index, ${old("p", 0)} * params.keep - m / root * params.rate);
store_m_new(index, m);
store_v_new(index, v);`,
          };
        },
      },
      { invocations: part },
    );
  }
  return outputs;
};

function rates(attributes: AdamWAttributes): Record<string, ReturnType<typeof f32>> {
  const { learningRate, beta1, beta2, epsilon, weightDecay, step } = attributes;
  return {
    keep_first: f32(beta1),
    take_first: f32(1 - beta1),
    keep_second: f32(beta2),
    take_second: f32(1 - beta2),
    spread: f32(Math.sqrt(1 - beta2 ** step)),
    epsilon: f32(epsilon),
    keep: f32(1 - learningRate * weightDecay),
    rate: f32(learningRate / (1 - beta1 ** step)),
  };
}
