import { describe, expect, it } from "vitest";
import { BASELINE, ONE_PAGE, compiled, instantiated } from "../testing/compiled.ts";
import { Module } from "./module.ts";
import { F32, I32 } from "./scalars.ts";
import { F32x4 } from "./vectors.ts";

const empty = (limits = ONE_PAGE): Module => new Module(limits, BASELINE);

describe("a module", () => {
  it("may be empty", () => {
    expect(WebAssembly.validate(empty().bytes())).toBe(true);
  });

  it("exports what it is told to, and no more", () => {
    const module = empty();
    module.function("hidden", { parameters: [] }, () => undefined);
    module.function("shown", { parameters: [] }, () => undefined, { exported: true });
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.bytes()), {
      env: { memory },
    });
    expect(Object.keys(exports)).toEqual(["shown"]);
  });

  it("has one type for equal signatures", () => {
    const module = empty();
    const types = [
      module.typeOf({ parameters: ["i32", "v128"] }),
      module.typeOf({ parameters: ["i32"], result: "v128" }),
      module.typeOf({ parameters: ["i32", "v128"] }),
      module.typeOf({ parameters: ["i32"] }),
    ];
    expect(types).toEqual([0, 1, 0, 2]);
  });

  it("takes a memory that is no larger than it says, and shared if it says so", () => {
    const module = empty({ initialPages: 1, maximumPages: 4, shared: true });
    const compile = (): WebAssembly.Module => new WebAssembly.Module(module.bytes());
    const link = (maximum: number, shared: boolean) => () =>
      new WebAssembly.Instance(compile(), {
        env: { memory: new WebAssembly.Memory({ initial: 1, maximum, shared }) },
      });
    expect(link(4, true)).not.toThrow();
    expect(link(2, true)).not.toThrow();
    expect(link(5, true)).toThrow(/maximum/);
    expect(link(4, false)).toThrow(/shared/);
  });

  it("holds many functions, locals and large bodies", () => {
    const module = empty();
    const count = 300;
    const functions = Array.from({ length: count }, (_, index) =>
      module.function(`f${index}`, { parameters: ["i32"] }, (body) => {
        let value = body.parameter(I32, 0);
        for (let i = 0; i < 200; i++) value = body.let(value.add(index));
        body.store(0, I32.load(0).add(value));
      }),
    );
    for (const callee of functions) module.enter(callee);
    const type = module.typeOf({ parameters: ["i32"] });
    module.function(
      "run",
      { parameters: ["i32"], result: "i32" },
      (body) => {
        body.for(0, count, 1, (place) => {
          body.callTable(type, place, [body.parameter(I32, 0)]);
        });
        body.returnValue(I32.load(0));
      },
      { exported: true },
    );
    const { run } = instantiated(module.bytes(), ONE_PAGE);
    const sum = Array.from({ length: count }, (_, index) => 1 + 200 * index);
    expect(run(1)).toBe(sum.reduce((total, value) => total + value, 0));
  });

  it("tells the names of its functions where one traps", () => {
    const module = empty();
    const inner = module.function("theInnerOne", { parameters: [] }, (body) => body.trap());
    module.function("run", { parameters: [] }, (body) => body.call(inner, []), { exported: true });
    const { run } = instantiated(module.bytes(), ONE_PAGE);
    let stack = "";
    try {
      run();
    } catch (error) {
      stack = String((error as Error).stack);
    }
    expect(stack).toMatch(/theInnerOne/);
  });

  it("is refused by the engine where types do not fit", () => {
    const wrong = (): unknown =>
      compiled({ result: "i32" }, (body) => body.returnValue(F32.const(1)));
    expect(wrong).toThrow(WebAssembly.CompileError);
    const noSuchLane = (): unknown =>
      compiled({ result: "f32" }, (body) => body.returnValue(F32x4.const(0).lane(4)));
    expect(noSuchLane).toThrow(WebAssembly.CompileError);
  });
});
