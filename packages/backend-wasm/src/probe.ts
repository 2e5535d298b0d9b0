import type { Instructions } from "./emit/body.ts";
import { Module } from "./emit/module.ts";
import { I32 } from "./emit/scalars.ts";
import { F32x4, I8x16 } from "./emit/vectors.ts";

/** What an engine can do, found by trying. */
export interface Features {
  /** Vectors of 128 bits, without which this backend does not run. */
  readonly simd: boolean;
  /** `relaxed_madd`, with sums that are right. */
  readonly relaxedMadd: boolean;
  /** The relaxed products of bytes, added in pairs, with sums that are right. */
  readonly relaxedDot: boolean;
  /** Memory that threads can share. */
  readonly sharedMemory: boolean;
}

const BASELINE: Instructions = { fused: false, relaxedDot: false };

/** Tries what the engine accepts and whether it computes right. */
export function probe(): Features {
  return {
    simd: computes(BASELINE, (module) => addMadd(module), isProduct),
    relaxedMadd: computes({ ...BASELINE, fused: true }, (module) => addMadd(module), isProduct),
    relaxedDot: computes({ ...BASELINE, relaxedDot: true }, (module) => addDot(module), isDot),
    sharedMemory: hasSharedMemory(),
  };
}

/** Where the operands are, and the result. */
const [A, B, C, OUT] = [0, 16, 32, 48];

function addMadd(module: Module): void {
  module.function(
    "try",
    { parameters: [] },
    (body) => {
      const sum = body.madd(F32x4.load(A), F32x4.load(B), F32x4.load(C));
      body.store(I32.const(OUT), body.nmadd(F32x4.load(A), F32x4.load(B), body.let(sum)));
    },
    { exported: true },
  );
}

function isProduct(view: DataView, run: () => void): boolean {
  const rows = [
    [1.5, -2, 0.25, 3],
    [2, 8, -4, 1024],
    [0.5, 1, 2, -4],
  ];
  for (const [row, values] of rows.entries()) {
    for (const [lane, value] of values.entries()) view.setFloat32(row * 16 + lane * 4, value, true);
  }
  // a·b + c − a·b in numbers that need no rounding is c.
  run();
  return [0, 1, 2, 3].every(
    (lane) => view.getFloat32(OUT + lane * 4, true) === view.getFloat32(C + lane * 4, true),
  );
}

function addDot(module: Module): void {
  module.function(
    "try",
    { parameters: [] },
    (body) => body.store(I32.const(OUT), body.dotPairs(I8x16.load(A), I8x16.load(B))),
    { exported: true },
  );
}

/** Extremes among them: some engines take signs the other way round. */
function isDot(view: DataView, run: () => void): boolean {
  const left = [-128, 127, -1, 1, -128, -128, 127, 127, 5, -7, 11, -13, 0, -127, 127, -128];
  const right = [127, 127, 0, 1, 127, 127, 127, 127, 64, 3, 100, 127, 127, 15, 15, 15];
  for (const [i, value] of left.entries()) view.setInt8(A + i, value);
  for (const [i, value] of right.entries()) view.setInt8(B + i, value);
  run();
  return Array.from({ length: 8 }, (_, lane) => 2 * lane).every((i) => {
    const products = [i, i + 1].map((place) => (left[place] ?? 0) * (right[place] ?? 0));
    return view.getInt16(OUT + i, true) === (products[0] ?? 0) + (products[1] ?? 0);
  });
}

function computes(
  instructions: Instructions,
  add: (module: Module) => void,
  isRight: (view: DataView, run: () => void) => boolean,
): boolean {
  const module = new Module({ initialPages: 1, maximumPages: 1, shared: false }, instructions);
  add(module);
  const bytes = module.bytes();
  if (!WebAssembly.validate(bytes)) return false;
  try {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
      env: { memory },
    });
    return isRight(new DataView(memory.buffer), exports["try"] as () => void);
  } catch {
    return false;
  }
}

/** Browsers hide shared memory from pages that are not isolated from other origins. */
function hasSharedMemory(): boolean {
  if (typeof SharedArrayBuffer === "undefined") return false;
  const { crossOriginIsolated = true } = globalThis as { readonly crossOriginIsolated?: boolean };
  if (!crossOriginIsolated) return false;
  try {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    return memory.buffer instanceof SharedArrayBuffer;
  } catch {
    return false;
  }
}
