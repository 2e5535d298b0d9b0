import type { Body, Instructions } from "../emit/body.ts";
import { type ImportedMemory, Module } from "../emit/module.ts";
import type { TypeName } from "../emit/scalars.ts";

/** Instructions that every engine with SIMD has. */
export const BASELINE: Instructions = { fused: false, relaxedDot: false };

/** A memory of one page. */
export const ONE_PAGE: ImportedMemory = { initialPages: 1, maximumPages: 1, shared: false };

/** A function in a module of its own, with the memory that it sees. */
export interface Compiled {
  readonly memory: WebAssembly.Memory;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  run(...args: readonly number[]): number;
}

/** Compiles one function. Throws `WebAssembly.CompileError` where it is not valid. */
export function compiled(
  signature: { readonly parameters?: readonly TypeName[]; readonly result?: TypeName },
  write: (body: Body, module: Module) => void,
  instructions: Instructions = BASELINE,
): Compiled {
  const module = new Module(ONE_PAGE, instructions);
  const { parameters = [], result } = signature;
  module.function("run", { parameters, result }, (body) => write(body, module), {
    exported: true,
  });
  return instantiated(module.bytes(), ONE_PAGE);
}

/** A module that exports `run`, with a new memory. */
export function instantiated(
  bytes: Uint8Array<ArrayBuffer>,
  { initialPages, maximumPages, shared }: ImportedMemory,
): Compiled {
  const memory = new WebAssembly.Memory({ initial: initialPages, maximum: maximumPages, shared });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  return {
    memory,
    bytes: new Uint8Array(memory.buffer),
    view: new DataView(memory.buffer),
    run: instance.exports["run"] as Compiled["run"],
  };
}
