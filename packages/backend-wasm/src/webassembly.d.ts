/** What this package needs of WebAssembly, which the declarations of Node do not have. */

declare namespace WebAssembly {
  interface Memory {
    readonly buffer: ArrayBuffer | SharedArrayBuffer;
    grow(pages: number): number;
  }
  const Memory: new (limits: {
    readonly initial: number;
    readonly maximum: number;
    readonly shared?: boolean;
  }) => Memory;
  interface Module {
    readonly "~module": never;
  }
  const Module: new (bytes: Uint8Array<ArrayBuffer>) => Module;
  interface Instance {
    readonly exports: Readonly<Record<string, unknown>>;
  }
  const Instance: new (module: Module, imports: Imports) => Instance;
  type Imports = { readonly env: { readonly memory: Memory } };
  const CompileError: new (message?: string) => Error;
  const RuntimeError: new (message?: string) => Error;
  function validate(bytes: Uint8Array<ArrayBuffer>): boolean;
  function compile(bytes: Uint8Array<ArrayBuffer>): Promise<Module>;
  function instantiate(module: Module, imports: Imports): Promise<Instance>;
}
