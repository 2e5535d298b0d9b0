import { F32, I32 } from "../../emit/scalars.ts";
import { F32x4 } from "../../emit/vectors.ts";
import type { Kernel, KernelCall } from "../../kernel.ts";
import type { WasmBuffer } from "../../memory.ts";
import { type Routine, defineRoutine } from "../../routine.ts";
import { eachFlat, flatTasks } from "../flat.ts";
import { wordAt } from "../reduction/lanes.ts";
import { splat } from "./rows.ts";

const adamWStep = /*#__PURE__*/ defineRoutine(
  "adamW",
  {
    parameter: I32,
    gradient: I32,
    first: I32,
    second: I32,
    newParameter: I32,
    newFirst: I32,
    newSecond: I32,
    count: I32,
    beta1: F32,
    restOf1: F32,
    beta2: F32,
    restOf2: F32,
    inverseRoot: F32,
    epsilon: F32,
    kept: F32,
    rate: F32,
  },
  (body, args, task) => {
    const [beta1, restOf1, beta2, restOf2, inverseRoot, epsilon, kept, rate] = [
      args.beta1,
      args.restOf1,
      args.beta2,
      args.restOf2,
      args.inverseRoot,
      args.epsilon,
      args.kept,
      args.rate,
    ].map((value) => splat(body, value)) as [
      F32x4,
      F32x4,
      F32x4,
      F32x4,
      F32x4,
      F32x4,
      F32x4,
      F32x4,
    ];
    eachFlat(body, task, args.count, 4, (index) => {
      const load = (base: I32): F32x4 => F32x4.load(wordAt(base, index));
      const gradient = body.let(load(args.gradient));
      const m = body.let(body.madd(load(args.first), beta1, gradient.mul(restOf1)));
      const square = gradient.mul(gradient).mul(restOf2);
      const v = body.let(body.madd(load(args.second), beta2, square));
      const root = body.madd(v.sqrt(), inverseRoot, epsilon);
      const change = body.let(m.div(root));
      const parameter = body.nmadd(change, rate, load(args.parameter).mul(kept));
      body.store(wordAt(args.newParameter, index), parameter);
      body.store(wordAt(args.newFirst, index), m);
      body.store(wordAt(args.newSecond, index), v);
    });
  },
);

/** `adamW`: one step, in place where the parameter and its moments are donated. */
export const adamW: Kernel = (call) => {
  const [parameter, gradient, first, second] = [0, 1, 2, 3].map(
    (index) => call.input(index).address,
  ) as [number, number, number, number];
  const { learningRate, beta1, beta2, epsilon, weightDecay, step } = call.attributes<{
    learningRate: number;
    beta1: number;
    beta2: number;
    epsilon: number;
    weightDecay: number;
    step: number;
  }>();
  const outputs = places(call);
  const [newParameter, newFirst, newSecond] = outputs.map(({ address }) => address) as [
    number,
    number,
    number,
  ];
  const count = call.outputSize(0);
  call.launch(
    adamWStep,
    {
      parameter,
      gradient,
      first,
      second,
      newParameter,
      newFirst,
      newSecond,
      count,
      beta1,
      restOf1: 1 - beta1,
      beta2,
      restOf2: 1 - beta2,
      inverseRoot: 1 / Math.sqrt(1 - beta2 ** step),
      epsilon,
      kept: 1 - learningRate * weightDecay,
      rate: learningRate / (1 - beta1 ** step),
    },
    flatTasks(count),
  );
  return outputs;
};

/** Where the parameter and the moments go: into their own buffers, each once, where these are donated. */
function places(call: KernelCall): WasmBuffer[] {
  const taken = new Set<WasmBuffer>([call.input(1).buffer]);
  return [0, 2, 3].map((input, output) => {
    const { buffer } = call.input(input);
    const free = !taken.has(buffer) && call.donated(input) !== undefined;
    if (!free) return call.make(output);
    taken.add(buffer);
    return buffer;
  });
}

/** Routines of these kernels. */
export const optimizerRoutines: readonly Routine[] = [adamWStep];
