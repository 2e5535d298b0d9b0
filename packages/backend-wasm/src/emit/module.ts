import { Body, type Callee, type Instructions, type Subroutine } from "./body.ts";
import { type Code, Bytes, text, unsigned } from "./code.ts";
import { Constants } from "./constants.ts";
import { TYPES, type TypeName } from "./scalars.ts";

/** Types of a function's parameters and of its result, if it has one. */
export interface Signature {
  readonly parameters: readonly TypeName[];
  readonly result?: TypeName | undefined;
}

/** The memory that a module imports as `env.memory`. Pages have 65 536 bytes. */
export interface ImportedMemory {
  readonly initialPages: number;
  readonly maximumPages: number;
  readonly shared: boolean;
}

interface FunctionEntry {
  readonly type: number;
  /** Its locals and instructions, with their length before them. */
  readonly code: Uint8Array;
  readonly name: string;
  readonly exported: boolean;
}

/** Puts functions together and gives the bytes of a module that imports its memory. */
export class Module {
  readonly instructions: Instructions;
  readonly #memory: ImportedMemory;
  readonly #types: string[] = [];
  readonly #typeCodes: Code[] = [];
  readonly #functions: FunctionEntry[] = [];
  readonly #table: number[] = [];
  readonly #subroutines = new Map<Subroutine, Callee>();

  constructor(memory: ImportedMemory, instructions: Instructions) {
    this.#memory = memory;
    this.instructions = instructions;
  }

  /** Number of a function type, for calls through the table. */
  typeOf(signature: Signature): number {
    const { parameters, result } = signature;
    const key = `${parameters.join()}:${result ?? ""}`;
    const known = this.#types.indexOf(key);
    if (known >= 0) return known;
    const codes = (types: readonly TypeName[]): Code => [
      ...unsigned(types.length),
      ...types.map((type) => TYPES[type]),
    ];
    this.#typeCodes.push([0x60, codes(parameters), codes(result ? [result] : [])]);
    return this.#types.push(key) - 1;
  }

  /** Adds a function; `write` fills its body, at once. */
  function(
    name: string,
    signature: Signature,
    write: (body: Body) => void,
    { exported = false }: { readonly exported?: boolean } = {},
  ): Callee {
    const body = new Body(signature.parameters, this.instructions, (used) => this.#add(used));
    const type = this.typeOf(signature);
    write(body);
    // A body that ends with `returnValue` in every branch still needs an end that type-checks.
    if (signature.result) body.trap();
    // At once, so that what it was made of need not be kept.
    const code = new Bytes();
    const constants = new Constants(signature.parameters.length + body.locals.length);
    const main = new Bytes();
    main.put(body.code, (constant) => constants.codeOf(constant));
    const vectors = Array.from({ length: constants.count }, () => "v128" as const);
    code.sized(() => {
      code.put([localsOf([...body.locals, ...vectors]), constants.prologue]);
      code.putBytes(main.take());
      code.put([0x0b]);
    });
    const index = this.#functions.push({ type, code: code.take(), name, exported }) - 1;
    return { index };
  }

  #add(subroutine: Subroutine): Callee {
    const { name, parameters, result } = subroutine;
    const known = this.#subroutines.get(subroutine);
    const callee =
      known ?? this.function(name, { parameters, result }, (body) => subroutine.write(body));
    this.#subroutines.set(subroutine, callee);
    return callee;
  }

  /** Puts a function into the table; its place there. */
  enter(callee: Callee): number {
    return this.#table.push(callee.index) - 1;
  }

  /** The module. */
  bytes(): Uint8Array<ArrayBuffer> {
    const { initialPages, maximumPages, shared } = this.#memory;
    const functions = this.#functions;
    const exports = functions.flatMap(({ name, exported }, place) =>
      exported ? [[...text(name), 0x00, ...unsigned(place)]] : [],
    );
    const limits = [shared ? 0x03 : 0x01, ...unsigned(initialPages), ...unsigned(maximumPages)];
    const elements = vector(this.#table.map((place) => unsigned(place)));
    const out = new Bytes();
    const section = (id: number, content: Code): void => {
      out.put([id]);
      out.sized(() => out.put(content));
    };
    out.put([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    section(1, vector(this.#typeCodes));
    section(2, vector([[...text("env"), ...text("memory"), 0x02, ...limits]]));
    section(3, vector(functions.map(({ type }) => unsigned(type))));
    section(4, vector([[0x70, 0x00, ...unsigned(this.#table.length)]]));
    section(7, vector(exports));
    section(9, vector([[0x00, 0x41, 0x00, 0x0b, elements]]));
    out.put([10]);
    out.sized(() => {
      out.put(unsigned(functions.length));
      for (const { code } of functions) out.putBytes(code);
    });
    out.put([0]);
    out.sized(() => {
      out.put([...text("name"), 1]);
      out.sized(() => out.put(namesOf(functions)));
    });
    return out.take();
  }
}

function vector(entries: readonly Code[]): Code {
  return [...unsigned(entries.length), entries];
}

/** Names of functions, for stack traces and profiles. */
function namesOf(functions: readonly FunctionEntry[]): Code {
  return vector(functions.map(({ name }, index) => [...unsigned(index), ...text(name)]));
}

/** Runs of locals of one type. */
function localsOf(locals: readonly TypeName[]): Code {
  const runs: { readonly type: TypeName; count: number }[] = [];
  for (const type of locals) {
    const last = runs.at(-1);
    if (last?.type === type) last.count++;
    else runs.push({ type, count: 1 });
  }
  return vector(runs.map(({ type, count }) => [...unsigned(count), TYPES[type]]));
}
