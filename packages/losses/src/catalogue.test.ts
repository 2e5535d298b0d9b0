import { readFileSync } from "node:fs";
import { type Routing, type RoutingLoss, type Tensor, valueAndGrad } from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as everything from "./index.ts";
import { type CatalogueOptions, controllerCatalogue, lossCatalogue } from "./index.ts";
import {
  backend,
  checkGradient,
  draws,
  f64,
  proportional,
  route,
  routeNoisily,
  towards,
  values,
} from "./testing/routings.ts";

/** What the entries need of a routing beyond scores and choices. */
const needs: Readonly<Record<string, Partial<CatalogueOptions>>> = {
  deepseekDeviceBalance: { devices: 2 },
  deepseekCommunicationBalance: { devices: 2 },
};
/** Losses whose value depends on more than a routing of any kind: they have tests of their own. */
const special = new Set(["reluSparsity", "reinforceLoss", "dogeBalance"]);
/** Losses that balance nothing, or not the load that is given. */
const unbalanced = new Set([...special, "tokenEntropyLoss", "zLoss"]);

const make = (name: string, options: Partial<CatalogueOptions> = {}): RoutingLoss[] => {
  const entry = lossCatalogue.find((one) => one.name === name);
  if (entry === undefined) throw new Error(`no entry ${name}`);
  return entry.make({ coefficient: 1, ...needs[name], ...options });
};
const evaluate = async (losses: readonly RoutingLoss[], routing: Routing): Promise<number> => {
  let sum = 0;
  for (const loss of losses) sum += loss.coefficient * (await loss.evaluate([routing]).item());
  return sum;
};

/** Routings that every loss looks at, made once. */
const made = new Map<string, Routing>();
const once = (key: string, make: () => Routing): Routing => {
  const routing = made.get(key) ?? make();
  made.set(key, routing);
  return routing;
};
const evenly = (parts: readonly number[]): Routing =>
  once(`proportional ${parts.join()}`, () => proportional(parts));

const names = lossCatalogue.map(({ name }) => name);
const general = names.filter((name) => !special.has(name));
const balancing = names.filter((name) => !unbalanced.has(name));

/** The value that an entry says a balanced routing has. */
const balancedValue = (name: string, experts: number, k: number): number => {
  const text = lossCatalogue.find((one) => one.name === name)?.balanced;
  if (text === "k") return k;
  return text === "−log E" ? -Math.log(experts) : Number(text);
};

describe("the catalogue", () => {
  it("has every loss and controller that the package exports, once", () => {
    const isLoss = /(Balance|Cv|Loss|Losses|Information|Sparsity)$/u;
    const exported = Object.keys(everything).filter(
      (name) => isLoss.test(name) && !/^(inject|total)/u.test(name),
    );
    expect([...names].sort()).toEqual(exported.sort());
    const controllers = Object.keys(everything).filter((name) => name.endsWith("Controller"));
    expect(controllerCatalogue.map(({ name }) => name).sort()).toEqual(controllers.sort());
  });

  it("names what it makes", () => {
    for (const name of names) {
      if (special.has(name) || name === "vmoeLosses") continue;
      const made = make(name, { coefficient: 0.5 });
      expect(made.map((loss) => [loss.name, loss.coefficient])).toEqual([[name, 0.5]]);
    }
    expect(make("vmoeLosses").map((loss) => loss.name)).toEqual(["importanceCv", "loadCv"]);
    expect(make("reluSparsity", { topK: 2 })[0]?.name).toBe("reluSparsity");
    expect(make("dogeBalance")[0]?.name).toBe("dogeBalance");
    expect(make("reinforceLoss", { reward: f64([1]) })[0]?.name).toBe("reinforceLoss");
    for (const [name, key] of [
      ["deepseekDeviceBalance", "devices"],
      ["reluSparsity", "topK"],
      ["reinforceLoss", "reward"],
    ] as const) {
      expect(() => make(name, { [key]: undefined })).toThrow(key);
    }
  });

  it("makes its controllers", () => {
    for (const entry of controllerCatalogue) {
      switch (entry.reads) {
        case "loads":
          expect(entry.make({ rate: 0.5 }).rate).toBe(0.5);
          break;
        case "routings":
          expect(entry.make({ momentum: 0.5 }).momentum).toBe(0.5);
          break;
        case "loads and tokens":
          expect(entry.make({ experts: 4, topK: 1 }).targetSparsity).toBe(0.75);
          break;
      }
    }
  });

  it("is what the README shows", () => {
    const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
    const rows = readme
      .split("\n")
      .filter((line) => line.startsWith("| `"))
      .map((line) => line.split("|").map((cell) => cell.trim()));
    const cells = (name: string): string[] | undefined =>
      rows.find((row) => row[1] === `\`${name}\``);
    for (const { name, summary, formula, balanced, source } of lossCatalogue) {
      expect(cells(name)?.slice(2, 6)).toEqual([summary, formula, balanced, source]);
    }
    for (const { name, summary, formula, reads, source } of controllerCatalogue) {
      expect(cells(name)?.slice(2, 6)).toEqual([summary, formula, reads, source]);
    }
  });
});

describe("every loss of the catalogue", () => {
  it.each(balancing)(
    "%s has its balanced value where load and probabilities are even",
    async (name) => {
      const even = evenly([3, 3, 3, 3]);
      expect(await evaluate(make(name), even)).toBeCloseTo(balancedValue(name, 4, 1), 9);
      // One is for k = 1, and for the other tokens must be certain.
      if (["huggingFaceSwitchBalance", "mutualInformation"].includes(name)) return;
      const torn = once("torn", () => route({ experts: 4, k: 2, logits: f64(pairs, [6, 4]) }));
      // Each token goes to two devices only where every expert has its own.
      const options = name === "deepseekCommunicationBalance" ? { devices: 4 } : {};
      expect(await evaluate(make(name, options), torn)).toBeCloseTo(balancedValue(name, 4, 2), 9);
    },
  );

  it.each(balancing)("%s is smallest where load and probabilities are even", async (name) => {
    const floor = balancedValue(name, 4, 1);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 4, maxLength: 4 }),
        async (parts) => {
          if (parts.every((count) => count === 0)) return;
          const found = await evaluate(make(name), evenly(parts));
          expect(found).toBeGreaterThanOrEqual(floor - 1e-9);
        },
      ),
      { seed: 3, numRuns: 12 },
    );
    expect(await evaluate(make(name), evenly([6, 0, 0, 0]))).toBeGreaterThan(floor + 0.1);
  });

  it.each(general)("%s does not move when experts are renamed or tokens permuted", async (name) => {
    const [experts, tokens] = [4, 6];
    const data = draws(31, tokens * experts);
    // Within devices, and devices as a whole.
    const rename = [3, 2, 1, 0];
    const order = [3, 0, 5, 1, 2, 4];
    const permuted = order.flatMap((t) => data.slice(t * experts, (t + 1) * experts));
    const renamed = data.map(
      (_, at) => data[at - (at % experts) + (rename[at % experts] ?? 0)] ?? 0,
    );
    const k = name === "huggingFaceSwitchBalance" ? 1 : 2;
    const value = (of: string, list: readonly number[]): Promise<number> => {
      const logits = (): Tensor => f64(list, [tokens, experts]);
      const routing = once(`${of} ${k}`, () => route({ experts, k, logits: logits() }));
      return evaluate(make(name), routing);
    };
    const reference = await value("plain", data);
    expect(await value("permuted", permuted)).toBeCloseTo(reference, 12);
    expect(await value("renamed", renamed)).toBeCloseTo(reference, 12);
  });

  it.each(general)("%s leaves padding out, whatever stands there", async (name) => {
    const experts = 4;
    const data = draws(32, 4 * experts);
    const padding = [Number.NaN, 1e30, -4, 2];
    const padded = [...data.slice(0, 8), ...padding, ...data.slice(8), ...padding];
    for (const per of ["batch", "sequence"] as const) {
      const cuts = per === "sequence" ? { plain: [0, 1, 4], padded: [0, 1, 6] } : undefined;
      const plain = once(`plain per ${per}`, () =>
        route({ experts, logits: f64(data, [4, 4]), sequences: cuts?.plain }),
      );
      const mask = [1, 1, 0, 1, 1, 0];
      const masked = once(`masked per ${per}`, () =>
        route({ experts, logits: f64(padded, [6, 4]), mask, sequences: cuts?.padded }),
      );
      const wanted = await evaluate(make(name), plain);
      expect(await evaluate(make(name), masked)).toBeCloseTo(wanted, 12);
    }
  });

  it.each(general)(
    "%s is 0 without a token, and finite when collapsed, with its gradient",
    async (name) => {
      const cases = [
        { routing: (logits: Tensor) => route({ experts: 4, logits, mask: [0, 0] }), empty: true },
        { routing: (logits: Tensor) => route({ experts: 4, logits }), empty: false },
      ];
      for (const { routing, empty } of cases) {
        for (const logits of [towards([1, 1], 4, 1e4), ...(empty ? [f64([], [0, 4])] : [])]) {
          const step = valueAndGrad((p: { logits: Tensor }) => {
            const [first, ...rest] = make(name);
            const given =
              logits.size === 0 ? route({ experts: 4, logits: p.logits }) : routing(p.logits);
            const all = [first, ...rest].flatMap((loss) => (loss ? [loss.evaluate([given])] : []));
            return everything.totalLoss(all.map((value) => ({ name, value, coefficient: 1 })));
          });
          const { loss, grads } = step({ logits });
          const value = await loss.item();
          if (empty) expect(value).toBeCloseTo(0, 12);
          expect(Number.isFinite(value)).toBe(true);
          for (const slope of await values(grads.logits)) expect(Number.isFinite(slope)).toBe(true);
        }
      }
    },
  );

  it.each(general)("%s has the gradient of its value, counts held constant", async (name) => {
    const [experts, tokens] = [4, 3];
    const data = [draws(41, tokens * experts), draws(42, tokens * experts)];
    const k = name === "huggingFaceSwitchBalance" ? 1 : 2;
    const given = {
      experts,
      k,
      score: "sigmoid",
      mask: [1, 0, 1],
      sequences: [0, 1, 3],
    } as const;
    const routingsOf = (layers: readonly Tensor[]): Routing[] =>
      layers.map((logits, layer) => routeNoisily({ ...given, logits }, layer));
    const shape = [tokens, experts];
    for (const loss of make(name)) await checkGradient(loss, data, routingsOf, shape);
    if (!balancing.includes(name)) return;
    for (const loss of make(name, { target: [0.1, 0.2, 0.3, 0.4] })) {
      await checkGradient(loss, data.slice(0, 1), routingsOf, shape);
    }
  });

  it("frees all but its value, and reads nothing back", () => {
    for (const name of general) {
      for (const loss of make(name, name === "zLoss" ? {} : { target: [0.1, 0.2, 0.3, 0.4] })) {
        const logits = f64(draws(5, 24), [6, 4]);
        const routing = routeNoisily(
          { experts: 4, logits, mask: [1, 1, 1, 0, 1, 1], sequences: [0, 1, 6] },
          1,
        );
        const before = backend.statistics().liveBuffers;
        const value = loss.evaluate([routing, routing]);
        expect(value.shape).toEqual([]);
        value.dispose();
        expect(backend.statistics().liveBuffers).toBe(before);
      }
    }
  });

  it("computes in float32 where the routing does", async () => {
    for (const name of general) {
      const logits = backend.tensor(draws(5, 16), { shape: [4, 4] });
      for (const loss of make(name)) {
        const value = loss.evaluate([route({ experts: 4, logits })]);
        expect(value.dtype).toBe("f32");
        expect(Number.isFinite(await value.item())).toBe(true);
      }
    }
  });
});

/** Six tokens, each torn evenly between one of the six pairs of four experts. */
const pairs: readonly number[] = [
  [0, 1],
  [2, 3],
  [0, 2],
  [1, 3],
  [0, 3],
  [1, 2],
].flatMap((pair) => [0, 1, 2, 3].map((expert) => (pair.includes(expert) ? 60 : 0)));
