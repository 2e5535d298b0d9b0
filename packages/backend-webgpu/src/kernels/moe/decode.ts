import type { KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { type Operand, read } from "../../program.ts";
import type { Factor } from "../products/factor.ts";
import { alignedLines, factorOf } from "../products/factor.ts";
import { type Bank, OWNER_TEXT, bankFactor, eachWindow } from "../products/grouped-product.ts";
import type { HeldWeights } from "../products/held.ts";
import { multiply } from "../products/product.ts";
import { type RowStore, rowStore, storePair } from "../products/store.ts";
import { multiplyFew } from "../products/strip.ts";
import { walks } from "../products/walk.ts";
import { activationText, activationVariant } from "./activation.ts";
import { ALONE, EXPERT_OF, type Meeting, TOGETHER, meetOften } from "./assignments.ts";
import { combineRows } from "./combine.ts";
import { combineDown } from "./decode-down.ts";
import { halvesOf, storeActivations } from "./halves.ts";
import { biasText, rowFactor, rowParams } from "./parts.ts";
import { type FfnProblem, downBank, upBank } from "./problem.ts";
import { roundActivations } from "./rounded.ts";

/** Bindings of a decode kernel beside the bank. */
const OTHER_BINDINGS = 5;

/** Whether both banks can be bound whole, which the kernels of decoding need. */
export function fitsDecode(call: KernelCall, { up, down }: FfnProblem): boolean {
  const room = call.context.storageBuffers - OTHER_BINDINGS;
  const bindings = ({ handle, scales }: HeldWeights): number =>
    handle.blocks.length + (scales?.blocks.length ?? 0);
  return bindings(up) <= room && bindings(down) <= room;
}

/**
 * Few tokens in two dispatches, or three: nothing is sorted, assignments find their experts, and each
 * other, by themselves. With `batchInvariant` sums have the order of the sorted path, so that a token
 * gets the same bits.
 */
export function decode(call: KernelCall, problem: FfnProblem, y: GpuHandle): void {
  const { rows, tokens, choices, experts, innerSize, outputSize, indices } = problem;
  const temporary = (width: number): GpuHandle =>
    call.temporary({ shape: [rows, width], dtype: "f32" });
  const together = meetOften(tokens, choices, experts);
  const meeting = together ? TOGETHER : ALONE;
  const activations = temporary(innerSize);
  if (rows > 0) projectUp(call, problem, meeting, activations);
  roundActivations(call, problem, activations);
  if (!together && !walks(call.context, bankFactor(downBank(problem), false), 1)) {
    combineDown(call, problem, activations, y);
    return;
  }
  const outputs = temporary(outputSize);
  if (rows > 0) projectDown(call, problem, meeting, activations, outputs);
  combineRows(call, {
    tokens,
    choices,
    width: outputSize,
    rows: outputs,
    places: { experts: indices.handle, count: experts },
    factors: problem.outputWeights.handle,
    target: y,
  });
}

/** A projection of the assignments. */
interface Projection {
  readonly name: string;
  readonly variant: string;
  readonly left: Factor;
  readonly bank: Bank;
  /** Operands beside the bank, `indices` and the one that is stored. */
  readonly operands: Readonly<Record<string, Operand>>;
  readonly declarations: string;
  /** What is stored, under which name, and how wide it is. */
  readonly target: { readonly name: string; readonly handle: GpuHandle; readonly width: number };
  /** One by one: the columns of each, and the statement that stores their sums `v0` and `v1`. */
  readonly columns: (place: string) => readonly [string] | readonly [string, string];
  readonly store: string;
  /** By pairs of quads, as products in registers have them. */
  readonly quads: {
    readonly pairs: number;
    readonly columns: ((pair: string) => readonly [string, string]) | undefined;
    readonly store: string;
  };
}

function project(
  call: KernelCall,
  problem: FfnProblem,
  meeting: Meeting,
  projection: Projection,
): void {
  const { name, left, bank, target, quads } = projection;
  const single = bankFactor(bank, false);
  const few = call.context.tiling === "workgroup" || walks(call.context, single, meeting.rows);
  const right = few
    ? single
    : bankFactor(bank, quads.columns === undefined || bank.columns % 8 === 0);
  const store: RowStore = rowStore(target.name, target.handle, few ? 1 : target.width);
  const operands: Record<string, Operand> = {
    ...projection.operands,
    indices: read(problem.indices.handle, "i32"),
    [target.name]: store.operand,
  };
  const declarations = `${EXPERT_OF}\n${projection.declarations}`;
  const begin = (item: string): string =>
    `${meeting.owner(item)}\n${OWNER_TEXT}\n${meeting.begin(item)}`;
  eachWindow(call, bank, operands, right.type, (bound, window) => {
    const params = { ...window, ...rowParams(problem) };
    const common = { left, right, operands: bound, params, rowAt: meeting.rowAt };
    if (few) {
      multiplyFew(call, {
        ...common,
        name: `${name}Few`,
        variant: projection.variant,
        rows: meeting.rows,
        items: problem.rows,
        places: target.width,
        inner: bank.inner,
        declarations,
        begin: begin("item"),
        columns: projection.columns,
        store: projection.store,
      });
      return;
    }
    multiply(call, {
      ...common,
      name: `${name}One`,
      variant: `${projection.variant};${store.variant}`,
      cut: { kind: "registers", rows: meeting.rows },
      tiles: problem.rows,
      pairs: quads.pairs,
      declarations: `${store.declarations}\n${declarations}`,
      begin: begin("tile"),
      columns: quads.columns ?? ((pair) => [`${pair} * 8u`, `${pair} * 8u + 4u`]),
      store: quads.store,
    });
  });
}

/** Each token, weighted where input weights are given, as the left factor of its assignments. */
function choiceFactor({ x, inputSize, inputWeights, rowPerChoice }: FfnProblem): Factor {
  return factorOf({
    name: "x",
    dtype: "f32",
    order: "rows",
    aligned: alignedLines(x.handle, inputSize),
    whole: inputSize % 4 === 0,
    stride: "params.inner",
    shift: "0u",
    last: "params.rows - 1u",
    line: (row) => (rowPerChoice ? row : `(${row}) / params.choices`),
    scale: inputWeights && ((row) => `load_factors(min(${row}, params.rows - 1u))`),
    variant: inputWeights ? "weightedChoice" : rowPerChoice ? "own" : "choice",
  });
}

function projectUp(
  call: KernelCall,
  problem: FfnProblem,
  meeting: Meeting,
  activations: GpuHandle,
): void {
  const { x, upBias, inputWeights, descriptor, innerSize } = problem;
  const { gate } = descriptor;
  const halves = halvesOf(problem);
  const left = choiceFactor(problem);
  const concatenated = gate?.packing === "concatenated";
  const halvesAt = (place: string): readonly [string, string] =>
    concatenated ? [place, `params.innerSize + ${place}`] : [`2u * ${place}`, `2u * ${place} + 1u`];
  const [c0, c1] = halvesAt("column");
  const [first, second] = halves.columns?.("pair") ?? ["pair * 8u", "pair * 8u + 4u"];
  project(call, problem, meeting, {
    name: "moeUp",
    variant: `${halves.variant};${activationVariant(descriptor)};${upBias ? "bias" : ""}`,
    left,
    bank: upBank(problem),
    operands: {
      x: read(x.handle, left.type),
      ...(upBias && { bias: read(upBias.handle, "f32") }),
      ...(inputWeights && { factors: read(inputWeights.handle, "f32") }),
    },
    declarations: `${biasText(upBias !== undefined)}\n${activationText(descriptor)}`,
    target: { name: "act", handle: activations, width: innerSize },
    columns: (place) => (gate ? halvesAt(place) : [place]),
    store: gate
      ? `let at = row * params.innerSize + column;
  store_act(at, between(biased(vec4<f32>(v0), owner, ${c0}).xxxx, biased(vec4<f32>(v1), owner, ${c1}).xxxx).x);`
      : `let h = biased(vec4<f32>(v0), owner, column).xxxx;
  store_act(row * params.innerSize + column, between(h, h).x);`,
    quads: {
      pairs: halves.pairs,
      columns: halves.columns,
      store: `let h0 = biased(v0, owner, ${first});
  let h1 = biased(v1, owner, ${second});
  ${storeActivations(problem, false)}`,
    },
  });
}

function projectDown(
  call: KernelCall,
  problem: FfnProblem,
  meeting: Meeting,
  activations: GpuHandle,
  outputs: GpuHandle,
): void {
  const { downBias, innerSize, outputSize } = problem;
  const left = rowFactor("act", activations, innerSize);
  project(call, problem, meeting, {
    name: "moeDown",
    variant: downBias ? "bias" : "",
    left,
    bank: downBank(problem),
    operands: {
      act: read(activations, left.type),
      ...(downBias && { bias: read(downBias.handle, "f32") }),
    },
    declarations: biasText(downBias !== undefined),
    target: { name: "y", handle: outputs, width: outputSize },
    columns: (place) => [place],
    store: "store_y(row * params.columns + column, biased(vec4<f32>(v0), owner, column).x);",
    quads: {
      pairs: Math.ceil(outputSize / 8),
      columns: undefined,
      store: storePair("row * params.columns", (sum, column) => `biased(${sum}, owner, ${column})`),
    },
  });
}
