import {
  type Capabilities,
  type FloatDType,
  type TensorSpec,
  bytesPerElement,
  sameShape,
  sizeOf,
} from "@moiety/core";
import { disagreement } from "./agreement.ts";
import type { BoundedValues, HostTensors, Program } from "./case.ts";
import { readAll, withOutputs } from "./execute.ts";
import { KitFault, describeError } from "./failure.ts";
import { Fingerprint } from "./fingerprint.ts";
import { type Oracle, createOracle } from "./oracle.ts";
import { type Yardstick, createYardstick } from "./yardstick/index.ts";

/** What the references gave for one program. */
export interface Reference {
  readonly outputs: Readonly<Record<string, BoundedValues>>;
  /** Byte sizes of what the program's ops wrote, as the backend under test would hold them. */
  readonly sizes: readonly number[];
}

/** Keeps references between runs; a `Map` is one. */
export interface ReferenceCache {
  /** What was kept under a key. */
  get(key: string): Reference | undefined;
  /** Keeps something under a key. */
  set(key: string, reference: Reference): unknown;
}

/**
 * Whose values are expected. `oracle`: those of `@moiety/backend-cpu`, with which the kit's own
 * naive yardstick must agree. `yardstick`: the yardstick's alone, to hold the oracle itself to it.
 */
export type ExpectedValues = "oracle" | "yardstick";

/** Runs programs on the references. */
export class References {
  readonly #capabilities: Capabilities;
  readonly #expected: ExpectedValues;
  readonly #cache: ReferenceCache | undefined;
  readonly #manifest: string;
  readonly #yardsticks = new Map<FloatDType, Yardstick>();
  #oracle: Oracle | undefined;

  constructor(
    capabilities: Capabilities,
    expected: ExpectedValues,
    cache: ReferenceCache | undefined,
  ) {
    this.#capabilities = capabilities;
    this.#expected = expected;
    this.#cache = cache;
    const { details: _, ...manifest } = capabilities;
    this.#manifest = new Fingerprint().text(JSON.stringify(manifest)).text(expected).digest();
  }

  /**
   * Values and bounds of a program's outputs. `place` names the call: case, seed and number.
   * @throws KitFault where a reference fails, or the two of them disagree
   */
  async of<Inputs extends HostTensors>(
    place: string,
    inputs: Inputs,
    program: Program<Inputs>,
    float: FloatDType,
  ): Promise<Reference> {
    const key = this.#cache && `${place}/${float}/${this.#manifest}/${fingerprintOf(inputs)}`;
    const known = key === undefined ? undefined : this.#cache?.get(key);
    if (known) return known;
    const reference = await this.#compute(inputs, program, float);
    if (key !== undefined) this.#cache?.set(key, reference);
    return reference;
  }

  async dispose(): Promise<void> {
    await this.#oracle?.backend.dispose();
    for (const { backend } of this.#yardsticks.values()) await backend.dispose();
  }

  async #compute<Inputs extends HostTensors>(
    inputs: Inputs,
    program: Program<Inputs>,
    float: FloatDType,
  ): Promise<Reference> {
    const measured = await this.#measure(inputs, program, float);
    if (this.#expected === "yardstick") {
      return {
        outputs: measured,
        sizes: Object.values(measured).map((one) => bytesOf(one, float)),
      };
    }
    this.#oracle ??= createOracle();
    const { backend } = this.#oracle;
    this.#oracle.takeSpecs();
    const wanted = await guarded("the oracle", () =>
      withOutputs(backend, "f64", inputs, program, readAll),
    );
    const sizes = this.#oracle.takeSpecs().map((spec) => bytesOf(spec, float));
    const outputs: Record<string, BoundedValues> = {};
    for (const [name, { data, shape, dtype }] of Object.entries(wanted)) {
      const yard = measured[name];
      if (yard === undefined || yard.dtype !== dtype || !sameShape(yard.shape, shape)) {
        throw new KitFault(`${name}: the oracle and the yardstick give different specs`);
      }
      const problem = disagreement(data, yard, float);
      if (problem !== undefined) throw new KitFault(`${name}: ${problem}`);
      outputs[name] = { values: data, bounds: yard.bounds, shape, dtype };
    }
    return { outputs, sizes: [...new Set(sizes)] };
  }

  async #measure<Inputs extends HostTensors>(
    inputs: Inputs,
    program: Program<Inputs>,
    float: FloatDType,
  ): Promise<Record<string, BoundedValues>> {
    const yardstick = this.#yardstick(float);
    return guarded("the yardstick", () =>
      withOutputs(yardstick.backend, "f64", inputs, program, async (outputs) => {
        const values = await readAll(outputs);
        const result: Record<string, BoundedValues> = {};
        for (const [name, { data, shape, dtype }] of Object.entries(values)) {
          const tensor = outputs[name];
          if (tensor === undefined) continue;
          result[name] = { values: data, bounds: await yardstick.boundsOf(tensor), shape, dtype };
        }
        return result;
      }),
    );
  }

  #yardstick(float: FloatDType): Yardstick {
    const known = this.#yardsticks.get(float);
    if (known) return known;
    const accumulation = float === "f64" ? "f64" : this.#capabilities.accumulation.dtype;
    const made = createYardstick({ accumulation, storage: float });
    this.#yardsticks.set(float, made);
    return made;
  }
}

async function guarded<Result>(who: string, run: () => Promise<Result>): Promise<Result> {
  try {
    return await run();
  } catch (error) {
    throw new KitFault(`${who} failed: ${describeError(error)}`, { cause: error });
  }
}

function bytesOf(spec: Pick<TensorSpec, "shape" | "dtype">, float: FloatDType): number {
  return sizeOf(spec.shape) * bytesPerElement(spec.dtype === "f64" ? float : spec.dtype);
}

function fingerprintOf(inputs: HostTensors): string {
  const fingerprint = new Fingerprint();
  for (const [name, { data, shape, dtype }] of Object.entries(inputs)) {
    fingerprint.text(`${name}:${dtype}[${shape.join()}]`);
    fingerprint.bytes(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  return fingerprint.digest();
}
