import { type Backend, type Capabilities, type FloatDType, type HostArray } from "@moiety/core";
import type {
  BoundedValues,
  CaseContext,
  CompareOptions,
  ConformanceCase,
  ErrorClass,
  HostTensors,
  Program,
  Tensors,
} from "./case.ts";
import { readAll, withOutputs } from "./execute.ts";
import { CaseFailure, KitFault } from "./failure.ts";
import { type HostTensor, bytesOf } from "./host-tensor.ts";
import { Judge, type Judgement } from "./judgement.ts";
import { Canaries, dirtyMemory } from "./memory-guard.ts";
import { type CaseRandom, caseRandom } from "./random.ts";
import type { Reference, References } from "./reference.ts";

/** What a case's context is made of. */
export interface ContextParts {
  readonly testCase: ConformanceCase;
  readonly backend: Backend;
  readonly references: References;
  /** Of this case. */
  readonly seed: number;
  createBackend(): Promise<Backend>;
  readonly loseDevice?: ((backend: Backend) => Promise<void>) | undefined;
}

/** The context of one run of a case, and what it came to. */
export class CaseRun implements CaseContext {
  readonly backend: Backend;
  readonly capabilities: Capabilities;
  readonly seed: number;
  readonly random: CaseRandom;
  readonly loseDevice?: (backend: Backend) => Promise<void>;
  /** Numbers that the case noted. */
  readonly notes: Map<string, number> = new Map();
  readonly #parts: ContextParts;
  readonly #judge = new Judge();
  readonly #canaries: Canaries;
  readonly #made: Backend[] = [];
  #references = 0;
  /** Byte sizes of what the last reference's ops wrote: such memory is dirtied before a run. */
  #sizes: readonly number[] = [];

  constructor(parts: ContextParts) {
    this.#parts = parts;
    this.backend = parts.backend;
    this.capabilities = parts.backend.capabilities;
    this.seed = parts.seed;
    this.random = caseRandom(parts.seed);
    this.#canaries = new Canaries(parts.backend);
    if (parts.loseDevice) this.loseDevice = parts.loseDevice;
  }

  /** What the comparisons came to; `undefined` when there was none. */
  get judgement(): Judgement | undefined {
    return this.#judge.judgement;
  }

  async compare<Inputs extends HostTensors>(
    inputs: Inputs,
    program: Program<Inputs>,
    options: CompareOptions = {},
  ): Promise<void> {
    const { float = "f32", outputs } = options;
    const reference = await this.#reference(inputs, program, float);
    const got = await this.observe(inputs, program, { float });
    for (const name of outputs ?? Object.keys(reference.outputs)) {
      const wanted = reference.outputs[name];
      const values = got[name];
      if (wanted === undefined || values === undefined) {
        throw new KitFault(`the program does not give ${name} in every run`);
      }
      this.#judge.compare(name, values, wanted, options);
    }
  }

  async reference<Inputs extends HostTensors, Outputs extends Tensors>(
    inputs: Inputs,
    program: Program<Inputs, Outputs>,
  ): Promise<{ readonly [Name in keyof Outputs]: BoundedValues }> {
    const { outputs } = await this.#reference(inputs, program, "f32");
    return { ...outputs } as { [Name in keyof Outputs]: BoundedValues };
  }

  async observe<Inputs extends HostTensors, Outputs extends Tensors>(
    inputs: Inputs,
    program: Program<Inputs, Outputs>,
    { float = "f32" }: Pick<CompareOptions, "float"> = {},
  ): Promise<{ readonly [Name in keyof Outputs]: HostTensor }> {
    dirtyMemory(this.backend, this.#sizes);
    this.#canaries.add();
    return withOutputs(this.backend, float, inputs, program, async (outputs) => {
      this.#canaries.add();
      return readAll(outputs);
    });
  }

  within(name: string, got: HostTensor, wanted: BoundedValues, options?: CompareOptions): void {
    this.#judge.compare(name, got, wanted, options);
  }

  expect(ok: boolean, message: string): void {
    if (!ok) throw new CaseFailure(message);
  }

  same(name: string, got: HostArray, wanted: HostArray): void {
    this.expect(
      got.constructor === wanted.constructor && got.length === wanted.length,
      `${name}: ${got.length} values of a ${got.constructor.name} instead of ${wanted.length} of a ` +
        wanted.constructor.name,
    );
    const [left, right] = [bytesOf({ data: got }), bytesOf({ data: wanted })];
    const at = left.findIndex((byte, index) => byte !== right[index]);
    if (at < 0) return;
    const index = Math.floor(at / got.BYTES_PER_ELEMENT);
    throw new CaseFailure(
      `${name}[${index}] is ${got[index]} instead of ${wanted[index]}, to the bit`,
    );
  }

  async throws(errorClass: ErrorClass, body: () => unknown): Promise<Error> {
    let result: unknown;
    try {
      result = await body();
    } catch (error) {
      if (error instanceof errorClass) return error;
      const got = error instanceof Error ? `${error.name} (${error.message})` : String(error);
      throw new CaseFailure(`threw ${got} instead of ${errorClass.name}`, { cause: error });
    }
    throw new CaseFailure(`gave ${String(result)} instead of throwing ${errorClass.name}`);
  }

  poor(reason: string): never {
    throw new KitFault(reason);
  }

  async createBackend(): Promise<Backend> {
    const backend = await this.#parts.createBackend();
    this.#made.push(backend);
    return backend;
  }

  note(key: string, value: number): void {
    this.notes.set(key, value);
  }

  /** Checks what must hold after the case. @throws CaseFailure */
  async checkCanaries(): Promise<void> {
    await this.#canaries.check();
  }

  /** Frees what the context itself holds. */
  async dispose(): Promise<void> {
    this.#canaries.dispose();
    for (const backend of this.#made) await backend.dispose();
  }

  async #reference<Inputs extends HostTensors>(
    inputs: Inputs,
    program: Program<Inputs>,
    float: FloatDType,
  ): Promise<Reference> {
    const place = `${this.#parts.testCase.id}/${this.seed}/${this.#references++}`;
    const reference = await this.#parts.references.of(place, inputs, program, float);
    this.#sizes = reference.sizes;
    return reference;
  }
}
