import createCpu from "@moiety/backend-cpu";
import { type RunCall, cast } from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { KernelCall } from "../../kernel.ts";
import type { Life } from "../../life.ts";
import type { WasmBuffer } from "../../memory.ts";
import { startWith } from "../../testing/life.ts";
import type { FactorDType } from "./elements.ts";
import { packPanels, packTiles } from "./left.ts";
import { packRoutines } from "./pack.ts";
import { type RightFactor, packRight, panelsOf } from "./right.ts";
import { tabulateRows, rowRoutines } from "./rows.ts";
import { TILE_ROWS } from "./tile.ts";

let life: Life;
beforeAll(async () => {
  life = await startWith([...packRoutines, ...rowRoutines], { threads: 2 });
});
afterAll(() => life.team.stop());

/** Runs what a kernel does, in a call without inputs. */
function within<R>(compute: (call: KernelCall) => R): R {
  const identity = {
    name: "pack",
    inputs: [],
    outputs: [],
    kernel: "optional",
    dynamic: [],
  } as const;
  const run: RunCall<WasmBuffer> = {
    op: identity,
    key: "pack",
    inputs: [],
    attributes: {},
    outputs: [],
    residuals: [],
  };
  const call = new KernelCall(run, life.host);
  const result = compute(call);
  call.finish();
  return result;
}

function floats(address: number, length: number): number[] {
  return [...new Float32Array(life.host.view.buffer, address, length)];
}

function write(call: KernelCall, values: Float32Array | Uint16Array | Int32Array): number {
  const address = call.temporary(values.byteLength);
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  life.memory.bytes.set(bytes, address);
  return address;
}

/** Whole numbers from 1 on, as elements: exact in all dtypes up to 256. */
function elements(dtype: FactorDType, count: number): Float32Array | Uint16Array {
  const values = Float32Array.from({ length: count }, (_, index) => 1 + (index % 251));
  if (dtype === "f32") return values;
  const bits = new Uint32Array(values.buffer);
  const shift = dtype === "bf16" ? 16 : 13;
  const rebias = dtype === "bf16" ? 0 : 112 << 10;
  return Uint16Array.from(bits, (word) => (word >>> shift) - rebias);
}

/** Where element (k, column) of a matrix comes from, for lane `lane` of a panel; undefined behind the last. */
function placeOf(factor: RightFactor, panel: number, lane: number, k: number): number | undefined {
  const { kinds, columns, columnStride, innerStride } = factor;
  const column = kinds ? panel * 4 + (lane & 3) : panel * 8 + lane;
  if (column >= columns) return undefined;
  const first = kinds ? (lane < 4 ? kinds[0] : kinds[1]) : 0;
  return first + column * columnStride + k * innerStride;
}

const SIZES = [
  [1, 1],
  [3, 5],
  [4, 8],
  [19, 23],
  [70, 16],
  [8, 1100],
  [1100, 9],
] as const;

function layouts(inner: number, columns: number): RightFactor[] {
  const base = {
    dtype: "f32",
    matrices: 2,
    matrixStride: inner * columns,
    inner,
    columns,
  } as const;
  const gated = { ...base, matrixStride: 2 * inner * columns };
  return [
    { ...base, innerStride: 1, columnStride: inner },
    { ...base, innerStride: columns, columnStride: 1 },
    { ...gated, innerStride: 1, columnStride: inner, kinds: [0, inner * columns] },
    { ...gated, innerStride: 1, columnStride: inner, kinds: [inner * columns, 0] },
    { ...gated, innerStride: 1, columnStride: 2 * inner, kinds: [inner, 0] },
    { ...gated, innerStride: 2 * columns, columnStride: 1, kinds: [columns, 0] },
    { ...gated, innerStride: 2 * columns, columnStride: 2, kinds: [0, 1] },
  ];
}

describe("packing a right factor", () => {
  it.each(SIZES)("of K = %i and %i columns", (inner, columns) => {
    for (const layout of layouts(inner, columns)) {
      for (const dtype of ["f32", "f16", "bf16"] as const) {
        const factor = { ...layout, dtype };
        const panels = panelsOf(factor);
        const [found, wanted] = within((call) => {
          const values = elements(dtype, factor.matrices * factor.matrixStride);
          const packed = packRight(call, write(call, values), factor);
          const count = factor.matrices * panels * inner * 8;
          const expected = Array.from({ length: count }, (_, index) => {
            const [lane, k] = [index % 8, Math.floor(index / 8) % inner];
            const panel = Math.floor(index / 8 / inner);
            const place = placeOf(factor, panel % panels, lane, k);
            if (place === undefined) return 0;
            return 1 + ((Math.floor(panel / panels) * factor.matrixStride + place) % 251);
          });
          return [floats(packed.address, count), expected];
        });
        expect(found, JSON.stringify(factor)).toEqual(wanted);
      }
    }
  });

  it("reads every half float right", async () => {
    const patterns = Uint16Array.from({ length: 65_536 }, (_, index) => index);
    const cpu = await createCpu();
    for (const dtype of ["f16", "bf16"] as const) {
      const oracle = cast(cpu.tensor(patterns, { dtype }), { dtype: "f32" });
      const wanted = await oracle.read(); // oxlint-disable-line no-await-in-loop
      const base = { dtype, matrices: 1, matrixStride: 65_536, inner: 8192, columns: 8 } as const;
      const found = within((call) => {
        const source = write(call, patterns);
        const factor = { ...base, innerStride: 8, columnStride: 1 };
        return floats(packRight(call, source, factor).address, 65_536);
      });
      const wrong = found.findIndex((value, index) => !Object.is(value, wanted[index]));
      expect(wrong === -1 ? [] : [wrong, found[wrong], wanted[wrong]]).toEqual([]);
    }
    await cpu.dispose();
  });
});

describe("packing rows that are gathered", () => {
  it.each([
    [1, 1],
    [9, 5],
    [40, 17],
    [13, 601],
  ])("%i rows of %i", (steps, width) => {
    const index = Int32Array.from({ length: steps }, (_, step) => ((step * 5) % (steps + 2)) - 1);
    within((call) => {
      const source = write(call, elements("f32", steps * width));
      const at = write(call, index);
      const gathered = { rows: source, limit: steps, stride: width * 4, index: at, count: steps };
      for (const which of ["named", "own"] as const) {
        const table = tabulateRows(call, { ...gathered, which });
        const matrices = [{ source: table, inner: steps }];
        const factor = { matrices, rows: width, stride: 4, gathered: true };
        for (const [lanes, pack] of [
          [8, packPanels],
          [TILE_ROWS, packTiles],
        ] as const) {
          const [address = 0] = pack(call, factor);
          const panels = Math.ceil(width / lanes);
          const wanted = Array.from({ length: panels * steps * lanes }, (_, place) => {
            const step = Math.floor(place / lanes) % steps;
            const column = Math.floor(place / lanes / steps) * lanes + (place % lanes);
            const named = index[step] ?? -1;
            if (column >= width || named < 0 || named >= steps) return 0;
            return 1 + (((which === "named" ? named : step) * width + column) % 251);
          });
          expect(floats(address, wanted.length)).toEqual(wanted);
        }
      }
    });
  });
});
