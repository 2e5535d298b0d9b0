import { describe, expect, it } from "vitest";
import { probe } from "../probe.ts";
import { BASELINE, ONE_PAGE, compiled, instantiated } from "../testing/compiled.ts";
import type { Body, Subroutine } from "./body.ts";
import { Module } from "./module.ts";
import { F32, F64, I32 } from "./scalars.ts";
import { F32x4, I32x4, I8x16 } from "./vectors.ts";

const { relaxedMadd, relaxedDot } = probe();

/** A function of two integers that returns one. */
function ofTwo(write: (body: Body, a: I32, b: I32) => void): (a: number, b?: number) => number {
  const { run } = compiled({ parameters: ["i32", "i32"], result: "i32" }, (body) =>
    write(body, body.parameter(I32, 0), body.parameter(I32, 1)),
  );
  return (a, b = 0) => run(a, b);
}

describe("locals", () => {
  it("keep a value once, where an expression is computed at each use", () => {
    const run = ofTwo((body, a) => {
      const later = a.mul(10);
      const kept = body.let(a.mul(10));
      body.set(a, I32.const(7));
      body.increment(kept, 1);
      body.returnValue(later.mul(1000).add(kept));
    });
    expect(run(3)).toBe(70_031);
  });

  it("of all types, among each other", () => {
    const { run } = compiled({ result: "f64" }, (body) => {
      const values = [body.let(F32.const(0.5)), body.let(F64.const(0.25)), body.int(3)] as const;
      const vector = body.let(F32x4.const(2));
      const [f32, f64, i32] = [
        body.let(F32.const(8)),
        body.let(F64.const(16)),
        body.int(I32.const(4)),
      ];
      const sum = values[0].toF64().add(values[1]).add(values[2].toF64());
      body.returnValue(sum.add(vector.lane(3).toF64()).add(f32.toF64()).add(f64).add(i32.toF64()));
    });
    expect(run()).toBe(0.5 + 0.25 + 3 + 2 + 8 + 16 + 4);
  });

  it("can be set, other values cannot", () => {
    compiled({ parameters: ["i32"] }, (body) => {
      const parameter = body.parameter(I32, 0);
      body.set(parameter, I32.const(1));
      expect(() => body.set(parameter.add(1), parameter)).toThrow(TypeError);
    });
  });
});

describe("control flow", () => {
  it("if, with and without else", () => {
    const run = ofTwo((body, a, b) => {
      const result = body.int(0);
      body.if(a.lt(b), () => body.set(result, I32.const(1)));
      body.if(
        a.eq(b),
        () => body.set(result, I32.const(2)),
        () => body.increment(result, 10),
      );
      body.returnValue(result);
    });
    expect([run(1, 2), run(2, 2), run(3, 2)]).toEqual([11, 2, 10]);
  });

  it.each([
    ["for", 0, 0, 1, 0],
    ["for", 0, 10, 1, 45],
    ["for", 3, 11, 4, 10],
    ["for", 5, 5, 1, 0],
    ["for", 7, 5, 1, 0],
  ])("%s from %i to %i by %i", (_, from, to, step, wanted) => {
    const sum = (body: Body, start: I32 | number, end: I32 | number): void => {
      const total = body.int(0);
      body.for(start, end, step, (counter) => body.increment(total, counter));
      body.returnValue(total);
    };
    expect(ofTwo((body, a, b) => sum(body, a, b))(from, to)).toBe(wanted);
    expect(ofTwo((body) => sum(body, from, to))(0)).toBe(wanted);
    // An end that is computed is computed once.
    expect(ofTwo((body, a, b) => sum(body, a.add(0), b.sub(0)))(from, to)).toBe(wanted);
  });

  it("for counts unsigned", () => {
    const run = ofTwo((body, a, b) => {
      const rounds = body.int(0);
      body.for(a, b, 16, () => body.increment(rounds, 1));
      body.returnValue(rounds);
    });
    expect(run(2 ** 31 - 32, 2 ** 31 + 32)).toBe(4);
  });

  it("while looks first, repeat afterwards; both nest", () => {
    const run = ofTwo((body, a, b) => {
      const total = body.int(0);
      body.while(
        () => a.gt(0),
        () => {
          const inner = body.let(b);
          body.repeat(() => {
            body.increment(total, 1);
            body.increment(inner, -1);
            return inner.gt(0);
          });
          body.increment(a, -1);
        },
      );
      body.returnValue(total);
    });
    expect([run(0, 5), run(3, 5), run(3, 0)]).toEqual([0, 15, 3]);
  });

  it("returns early, and traps", () => {
    const { run, view } = compiled({ parameters: ["i32"] }, (body) => {
      body.if(body.parameter(I32, 0).eq(1), () => body.return());
      body.store(0, I32.const(5));
      body.if(body.parameter(I32, 0).eq(2), () => body.trap());
    });
    run(1);
    expect(view.getInt32(0, true)).toBe(0);
    expect(() => run(2)).toThrow(WebAssembly.RuntimeError);
    expect(view.getInt32(0, true)).toBe(5);
  });
});

describe("calls", () => {
  it("of functions, with and without a result, and through the table", () => {
    const module = new Module(ONE_PAGE, BASELINE);
    const twice = module.function("twice", { parameters: ["i32"], result: "i32" }, (body) =>
      body.returnValue(body.parameter(I32, 0).mul(2)),
    );
    const store = module.function("store", { parameters: ["i32", "i32"] }, (body) =>
      body.store(body.parameter(I32, 0), body.parameter(I32, 1)),
    );
    const clear = module.function("clear", { parameters: ["i32", "i32"] }, (body) =>
      body.store(body.parameter(I32, 0), I32.const(-1)),
    );
    const places = [store, clear].map((callee) => module.enter(callee));
    module.function(
      "run",
      { parameters: ["i32"] },
      (body) => {
        const value = body.callFor(I32, twice, [body.parameter(I32, 0)]);
        body.call(store, [I32.const(4), value]);
        const type = module.typeOf({ parameters: ["i32", "i32"] });
        body.for(0, places.length, 1, (place) => {
          body.callTable(type, place, [place.shl(3).add(8), body.parameter(I32, 0)]);
        });
      },
      { exported: true },
    );
    const { run, view } = instantiated(module.bytes(), ONE_PAGE);
    run(21);
    expect([4, 8, 16].map((at) => view.getInt32(at, true))).toEqual([42, 21, -1]);
  });

  it("of a subroutine, which is added once", () => {
    const subroutine = {
      name: "plusOne",
      parameters: ["i32"],
      write: (body: Body) => {
        const address = body.parameter(I32, 0);
        body.store(address, I32.load(address).add(1));
      },
    } as const;
    const sizes = [1, 2].map((calls) => {
      const module = new Module(ONE_PAGE, BASELINE);
      for (let i = 0; i < calls; i++) {
        module.function(
          i === 0 ? "run" : "other",
          { parameters: [] },
          (body) => {
            body.callSubroutine(subroutine, [I32.const(8)]);
            body.callSubroutine(subroutine, [I32.const(8)]);
          },
          { exported: true },
        );
      }
      const bytes = module.bytes();
      const { run, view } = instantiated(bytes, ONE_PAGE);
      run();
      expect(view.getInt32(8, true)).toBe(2);
      return bytes.length;
    });
    expect((sizes[1] ?? 0) - (sizes[0] ?? 0)).toBeLessThan(50);
  });
});

it("gives the result of a subroutine", () => {
  const square: Subroutine = {
    name: "square",
    parameters: ["i32"],
    result: "i32",
    write: (body) => body.returnValue(body.parameter(I32, 0).mul(body.parameter(I32, 0))),
  };
  const run = ofTwo((body, a, b) => {
    const sum = body.resultOf(I32, square, [a]).add(body.resultOf(I32, square, [b]));
    body.returnValue(sum);
  });
  expect(run(3, -4)).toBe(25);
});

describe("memory", () => {
  it("is stored in every width, at any offset", () => {
    const { run, bytes, view } = compiled({ parameters: ["i32"] }, (body) => {
      const at = body.parameter(I32, 0);
      body.store8(at, I32.const(0x1ff), 1);
      body.store16(at, I32.const(0x1_2345), 3);
      body.store(at, I32.const(-2), 8);
      body.store(at, F32.const(1.5), 12);
      body.store(at, F64.const(-0.1), 16);
      body.store(at, I32x4.const(9), 32);
      body.storeHalf(at, F32x4.const(2.5), 300);
    });
    run(100);
    expect([...bytes.subarray(100, 106)]).toEqual([0, 0xff, 0, 0x45, 0x23, 0]);
    expect(view.getInt32(108, true)).toBe(-2);
    expect(view.getFloat32(112, true)).toBe(1.5);
    expect(view.getFloat64(116, true)).toBe(-0.1);
    expect([0, 4, 8, 12].map((lane) => view.getInt32(132 + lane, true))).toEqual([9, 9, 9, 9]);
    expect([0, 4, 8, 12].map((lane) => view.getFloat32(400 + lane, true))).toEqual([
      2.5, 2.5, 0, 0,
    ]);
  });

  it("is copied, also onto itself, and filled", () => {
    const { run, bytes } = compiled({ parameters: ["i32"] }, (body) => {
      body.fillBytes(10, 7, 4);
      body.copy(12, 10, body.parameter(I32, 0));
    });
    for (let i = 0; i < 10; i++) bytes[i] = i;
    run(3);
    expect([...bytes.subarray(8, 18)]).toEqual([8, 9, 7, 7, 7, 7, 7, 0, 0, 0]);
  });
});

describe("products that are added", () => {
  const values = [1 + 2 ** -12, 3, -0.1, 1e10];
  const run = (fused: boolean): { readonly madd: number[]; readonly nmadd: number[] } => {
    const { run: go, view } = compiled(
      {},
      (body) => {
        const [a, b, c] = [F32x4.load(0), F32x4.load(16), F32x4.load(32)];
        body.store(48, body.madd(a, b, c));
        body.store(64, body.nmadd(a, b, c));
      },
      { ...BASELINE, fused },
    );
    for (const [lane, value] of values.entries()) {
      view.setFloat32(lane * 4, value, true);
      view.setFloat32(16 + lane * 4, value, true);
      view.setFloat32(32 + lane * 4, -(Math.fround(value) ** 2), true);
    }
    go();
    const at = (from: number): number[] =>
      values.map((_, lane) => view.getFloat32(from + lane * 4, true));
    return { madd: at(48), nmadd: at(64) };
  };

  it("have two roundings without relaxed instructions", () => {
    const { madd, nmadd } = run(false);
    const { fround } = Math;
    const squares = values.map((value) => fround(fround(value) * fround(value)));
    const sums = values.map((value) => fround(-(fround(value) ** 2)));
    expect(madd).toEqual(squares.map((square, i) => fround(square + (sums[i] ?? 0))));
    expect(nmadd).toEqual(squares.map((square, i) => fround((sums[i] ?? 0) - square)));
  });

  it.runIf(relaxedMadd)(
    "have one rounding or two with them, within half a step of the product",
    () => {
      const [plain, relaxed] = [run(false), run(true)];
      for (const [i, value] of values.entries()) {
        const step = value ** 2 * 2 ** -23;
        expect(Math.abs((plain.madd[i] ?? 0) - (relaxed.madd[i] ?? 0))).toBeLessThanOrEqual(step);
        expect(Math.abs((plain.nmadd[i] ?? 0) - (relaxed.nmadd[i] ?? 0))).toBeLessThanOrEqual(
          2 * step,
        );
      }
    },
  );
});

describe("dotPairs", () => {
  it.each([false, ...(relaxedDot ? [true] : [])])("is exact, relaxed: %s", (relaxed) => {
    const { run, view } = compiled(
      {},
      (body) => body.store(32, body.dotPairs(I8x16.load(0), I8x16.load(16))),
      { ...BASELINE, relaxedDot: relaxed },
    );
    for (let round = 0; round < 256; round++) {
      const sums = Array.from({ length: 8 }, () => 0);
      for (let i = 0; i < 16; i++) {
        const [a, b] = [((round * 37 + i * 101) % 256) - 128, (round * 11 + i * 29) % 128];
        view.setInt8(i, a);
        view.setInt8(16 + i, b);
        sums[i >> 1] = (sums[i >> 1] ?? 0) + a * b;
      }
      run();
      expect(sums.map((_, lane) => view.getInt16(32 + 2 * lane, true))).toEqual(sums);
    }
  });
});

describe("atomics", () => {
  const shared = { initialPages: 1, maximumPages: 1, shared: true };
  const both = (write: (body: Body) => void): ReturnType<typeof instantiated> => {
    const module = new Module(shared, BASELINE);
    module.function("run", { parameters: ["i32"], result: "i32" }, write, { exported: true });
    return instantiated(module.bytes(), shared);
  };

  it.each([
    ["atomicAdd", (body: Body, value: I32) => body.atomicAdd(8, value, 4), 5, 5 + 3],
    ["atomicOr", (body: Body, value: I32) => body.atomicOr(8, value, 4), 5, 5 | 3],
    ["atomicLoad", (body: Body) => body.atomicLoad(8, 4), 5, 5],
    // Nobody sleeps, and the word is another than expected.
    ["atomicNotify", (body: Body, value: I32) => body.atomicNotify(8, value, 4), 0, 5],
    ["atomicWait", (body: Body, value: I32) => body.atomicWait(8, value, 4), 1, 5],
  ] as const)("%s", (_, code, result, left) => {
    const { run, view } = both((body) => body.returnValue(code(body, body.parameter(I32, 0))));
    view.setInt32(12, 5, true);
    expect(run(3)).toBe(result);
    expect(view.getInt32(12, true)).toBe(left);
  });

  it("atomicStore, and a value that is dropped", () => {
    const { run, view } = both((body) => {
      body.atomicStore(8, body.parameter(I32, 0));
      body.drop(body.atomicAdd(8, 1));
      body.returnValue(I32.const(0));
    });
    run(41);
    expect(view.getInt32(8, true)).toBe(42);
  });
});
