import type { AnyOp, Capabilities, HostArray, Shape, Tensor } from "@moiety/core";
import type {
  BoundedValues,
  CaseContext,
  CompareOptions,
  ConformanceCase,
  Extension,
  Level,
  Program,
  ProgramRun,
} from "../case.ts";
import { KitFault } from "../failure.ts";
import { type HostTensor, hostTensor } from "../host-tensor.ts";

/** What a case is made of beside its id. */
export interface CaseParts {
  readonly demand: string;
  /** The required ops that it needs. */
  readonly ops: readonly AnyOp[];
  readonly extension?: Extension | undefined;
  readonly heavy?: boolean | undefined;
  unsupported?(capabilities: Capabilities): string | undefined;
  run(test: CaseContext): Promise<void>;
}

/** A case of the first must-pass list; `id` stands behind its level. */
export function caseOf(level: Level, id: string, parts: CaseParts): ConformanceCase {
  return { ...parts, id: `${level}/${id}`, level, since: "2026-11-22" };
}

/** Host inputs by name; absent ones are undefined. */
export type Hosts = Readonly<Record<string, HostTensor | undefined>>;

/** Host inputs as a program sees them. */
export type Uploaded<H extends Hosts> = {
  readonly [Name in keyof H]: H[Name] extends HostTensor ? Tensor : Tensor | undefined;
};

/** A program that knows its inputs by name. */
export type Body<H extends Hosts> = (
  inputs: Uploaded<H>,
  run: ProgramRun,
) => Record<string, Tensor>;

/** A body as the context takes it. */
export function programOf<H extends Hosts>(body: Body<H>): Program {
  return (run) => body(run.inputs as Uploaded<H>, run);
}

/** The inputs that are there. */
export function present(inputs: Hosts): Record<string, HostTensor> {
  const entries = Object.entries(inputs).filter(
    (entry): entry is [string, HostTensor] => entry[1] !== undefined,
  );
  return Object.fromEntries(entries);
}

/** Holds a program to the references: every output within its bounds. */
export function holds<H extends Hosts>(
  test: CaseContext,
  inputs: H,
  body: Body<H>,
  options?: CompareOptions,
): Promise<void> {
  return test.compare(present(inputs), programOf(body), options);
}

/** What the backend under test gives. */
export function observed<H extends Hosts>(
  test: CaseContext,
  inputs: H,
  body: Body<H>,
): Promise<Record<string, HostTensor>> {
  return test.observe(present(inputs), programOf(body));
}

/** What the references give, with bounds. */
export function referenced<H extends Hosts>(
  test: CaseContext,
  inputs: H,
  body: Body<H>,
): Promise<Record<string, BoundedValues>> {
  return test.reference(present(inputs), programOf(body));
}

/** A member that must be there. */
export function at<Value>(record: Readonly<Record<string, Value>>, name: string): Value {
  const value = record[name];
  if (value === undefined) throw new KitFault(`there is no ${name}`);
  return value;
}

/** Rows of a host tensor, counted along its first axis. */
export function rowsOf({ data, shape }: HostTensor): HostArray[] {
  const count = shape[0] ?? 0;
  const width = count === 0 ? 0 : data.length / count;
  return Array.from({ length: count }, (_, row) => data.slice(row * width, (row + 1) * width));
}

/** Some rows of a host tensor, in the order given. */
export function pickRows(tensor: HostTensor, rows: readonly number[]): HostTensor {
  const all = rowsOf(tensor);
  const width = all[0]?.length ?? 0;
  const picked = hostTensor(new Float64Array(rows.length * width), tensor.dtype, [
    rows.length,
    ...tensor.shape.slice(1),
  ]);
  for (const [place, row] of rows.entries()) {
    const source = all[row];
    if (source === undefined) throw new KitFault(`there is no row ${row}`);
    picked.data.set(source, place * width);
  }
  return picked;
}

/** A copy of a host tensor in which one row holds one value. */
export function withRow(tensor: HostTensor, row: number, value: number): HostTensor {
  const width = tensor.data.length / Math.max(1, tensor.shape[0] ?? 0);
  const data = tensor.data.slice();
  data.fill(value, row * width, (row + 1) * width);
  return { ...tensor, data };
}

/** A host tensor with every value mapped. */
export function mapped(
  tensor: HostTensor,
  map: (value: number, index: number) => number,
): HostTensor {
  const data = tensor.data.slice();
  for (let index = 0; index < data.length; index++) data[index] = map(data[index] ?? 0, index);
  return { ...tensor, data };
}

/** A host tensor whose every value is the same. */
export function constant(
  shape: Shape,
  value: number,
  dtype: HostTensor["dtype"] = "f32",
): HostTensor {
  const size = shape.reduce((product, one) => product * one, 1);
  return hostTensor(new Float64Array(size).fill(value), dtype, shape);
}

/** Whether equal inputs and shapes promise equal bits. */
function isBitwise({ capabilities }: CaseContext): boolean {
  return capabilities.determinism === "bitwise";
}

/** Equal to the bit where the backend promises that, else within the bounds given. */
export function sameRun(
  test: CaseContext,
  name: string,
  got: HostTensor,
  wanted: HostTensor,
  bounded: BoundedValues,
): void {
  test.within(name, got, bounded);
  if (isBitwise(test)) test.same(name, got.data, wanted.data);
}

/**
 * One row of an input is NaN. The outputs' row of that number must be what the references say, NaN
 * where they have it, and the other rows what they are without it: to the bit where the backend is
 * deterministic.
 */
export async function staysInRow<H extends Hosts>(
  test: CaseContext,
  clean: H,
  input: keyof H & string,
  row: number,
  body: Body<H>,
): Promise<void> {
  const dirty: H = { ...clean, [input]: withRow(at(present(clean), input), row, Number.NaN) };
  const bounded = await referenced(test, clean, body);
  const poisoned = await referenced(test, dirty, body);
  const [before, after] = [await observed(test, clean, body), await observed(test, dirty, body)];
  for (const [name, wanted] of Object.entries(before)) {
    const got = at(after, name);
    const width = got.data.length / Math.max(1, got.shape[0] ?? 0);
    const data = got.data.slice();
    data.set(wanted.data.subarray(row * width, (row + 1) * width), row * width);
    sameRun(test, `${name} beside a row of NaN`, { ...got, data }, wanted, at(bounded, name));
    test.within(`${name} of a row of NaN`, got, at(poisoned, name));
  }
}

/** Values of the backend with the reference's bounds of the same. */
export interface Held {
  readonly got: HostTensor;
  readonly wanted: BoundedValues;
}

/** Two ways to the same values must agree within the bounds of both. */
function agree(test: CaseContext, what: string, a: Held, b: Held): void {
  for (let index = 0; index < a.got.data.length; index++) {
    const [left = 0, right = 0] = [a.got.data[index], b.got.data[index]];
    const [wantedLeft = 0, wantedRight = 0] = [a.wanted.values[index], b.wanted.values[index]];
    const bounds = (a.wanted.bounds[index] ?? 0) + (b.wanted.bounds[index] ?? 0);
    const rounding = 1e-12 * (Math.abs(wantedLeft) + Math.abs(wantedRight));
    if (Math.abs(wantedLeft - wantedRight) > rounding) {
      throw new KitFault(`${what}: the reference itself breaks the law at element ${index}`);
    }
    const gap = Math.abs(left - right);
    test.expect(
      gap <= bounds + rounding,
      `${what}: element ${index} is ${left} one way and ${right} the other`,
    );
  }
}

/** Runs a program whose outputs in `pairs` must be equal, compares all, and holds the pairs to it. */
export async function agreeing<H extends Hosts>(
  test: CaseContext,
  inputs: H,
  body: Body<H>,
  pairs: readonly (readonly [string, string])[],
): Promise<void> {
  const wanted = await referenced(test, inputs, body);
  const got = await observed(test, inputs, body);
  for (const [name, bounded] of Object.entries(wanted)) test.within(name, at(got, name), bounded);
  for (const [left, right] of pairs) {
    agree(
      test,
      `${left} and ${right}`,
      { got: at(got, left), wanted: at(wanted, left) },
      { got: at(got, right), wanted: at(wanted, right) },
    );
  }
}

/** Tile sizes worth a case around each: the manifest's, as far as the references can follow. */
export function tilesOf({ tileSizes = [] }: Capabilities): number[] {
  return [...new Set(tileSizes)].filter(
    (size) => Number.isInteger(size) && size > 0 && size <= 512,
  );
}
