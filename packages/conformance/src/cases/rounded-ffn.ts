import {
  type ProductFormat,
  type Tensor,
  activate,
  add,
  combine,
  dequantize,
  dispatch,
  gather,
  gatherRows,
  groupedMatmul,
  planChoices,
  roundBlocks,
  spread,
  storedFormat,
  valueShape,
} from "@moiety/core";
import type { CaseContext, ProgramRun } from "../case.ts";
import { KitFault } from "../failure.ts";
import type { HostTensor } from "../host-tensor.ts";
import {
  type Bank,
  type FfnHosts,
  type FfnShape,
  type FfnTensors,
  ffnHosts,
} from "./l3-ffn-support.ts";
import { at, mapped, pickRows, referenced } from "./l3-support.ts";
import { quantised } from "./quantised-support.ts";
import { decidedRows, stepped } from "./rounded-support.ts";

/** Widths of whole blocks. */
export const ROUNDED_SHAPE: FfnShape = {
  tokens: 6,
  experts: 4,
  topK: 2,
  input: 64,
  inner: 32,
  output: 32,
};

/** A matrix of a bank in the numbers that its codes stand for. */
function numbersOf(
  codes: Tensor,
  scales: Tensor | undefined,
  format: ProductFormat,
  { float: dtype }: ProgramRun,
): Tensor {
  if (!scales) throw new KitFault("a bank of codes has no scales");
  const stored = storedFormat(format);
  const shape = valueShape(codes.shape, stored);
  return dequantize(codes, scales, { format: stored, shape, dtype });
}

/** The expert path by its definition: the outputs, and what the second product reads of each choice. */
export function byParts(
  given: FfnTensors,
  format: ProductFormat,
  { descriptor }: Bank,
  run: ProgramRun,
): { readonly y: Tensor; readonly read: Tensor } {
  const { x, indices, outputWeights, upBias, downBias, inputWeights } = given;
  const up = numbersOf(given.up, given.upScales, format, run);
  const down = numbersOf(given.down, given.downScales, format, run);
  const sorted = planChoices(indices, up.shape[0] ?? 0);
  const rows = dispatch(x, sorted, inputWeights);
  const project = (values: Tensor, matrix: Tensor, bias: Tensor | undefined): Tensor => {
    const product = groupedMatmul(values, matrix, rows.offsets);
    return bias ? add(product, gatherRows(bias, rows.group)) : product;
  };
  const hidden = activate(project(roundBlocks(gather(rows)), up, upBias), descriptor);
  const read = roundBlocks(hidden);
  const y = combine(project(read, down, downBias), sorted, outputWeights);
  return { y, read: spread(read, sorted) };
}

/** Of so many tokens for each that is wanted, and some more, enough are clear of halves. */
const DRAWN = { perToken: 3, more: 16 } as const;

/**
 * Inputs of an expert path that every honest backend rounds alike. What the first product reads lies
 * clear of halves as it is drawn. What the second reads is computed, so some of it lies so near to
 * half a step that the rounding of float32 decides, and the outputs of two right backends are a step
 * apart there. More tokens are drawn than wanted, and the first kept of which the references alone say
 * that no honest backend can round any of their hidden values otherwise.
 */
export async function decidedHosts(
  test: CaseContext,
  format: ProductFormat,
  bank: Bank,
  part: Partial<FfnShape> = {},
  chosen: (expert: number, place: number) => number = (expert) => expert,
): Promise<FfnHosts> {
  const shape = { ...ROUNDED_SHAPE, ...part };
  const tokens = DRAWN.perToken * shape.tokens + DRAWN.more;
  const drawn = ffnHosts(test, bank, { ...shape, tokens });
  const [up, down] = [quantised(format, drawn.up), quantised(format, drawn.down)];
  const hosts: FfnHosts = {
    ...drawn,
    x: stepped(test.random, [tokens, shape.input]),
    indices: mapped(drawn.indices, chosen),
    up: up.codes,
    down: down.codes,
    upScales: up.scales,
    downScales: down.scales,
  };
  const found = await referenced(test, hosts, (given, run) => ({
    read: byParts(given, format, bank, run).read,
  }));
  const clear = decidedRows(at(found, "read"), shape.topK * shape.inner)
    .flatMap((decided, token) => (decided ? [token] : []))
    .slice(0, shape.tokens);
  if (clear.length < shape.tokens) {
    test.poor(`of ${tokens} tokens only ${clear.length} are clear of halves`);
  }
  const kept = (tensor: HostTensor): HostTensor => pickRows(tensor, clear);
  return {
    ...hosts,
    x: kept(hosts.x),
    indices: kept(hosts.indices),
    outputWeights: kept(hosts.outputWeights),
    inputWeights: hosts.inputWeights && kept(hosts.inputWeights),
  };
}
