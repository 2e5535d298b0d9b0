import { readFileSync } from "node:fs";
import {
  ConfigError,
  type RouteContext,
  type Routing,
  type Tensor,
  randomKey,
  select,
} from "@moiety/core";
import { describe, expect, it } from "vitest";
import * as everything from "./index.ts";
import {
  type CatalogueRouter,
  type RouterCatalogueOptions,
  type RouterEntry,
  routerCatalogue,
} from "./index.ts";
import { backend, drawn, i32, rowsOf } from "./testing/numbers.ts";

const WIDTH = 3;
const TOKENS = 18;
const options: RouterCatalogueOptions = { hiddenSize: WIDTH, experts: 9, topK: 2, vocabSize: 5 };
const key = randomKey(3);
const ids = Array.from({ length: TOKENS }, (_, token) => (token * 3) % 5);
const entries = routerCatalogue.map((entry): [string, RouterEntry] => [entry.name, entry]);

/** What is not in the catalogue: makers of routers, and wrappers of one. */
const tools = new Set([
  "adaptiveRouter",
  "linearRouter",
  "replayRouter",
  "scaledRouter",
  "stagedRouter",
  "tableRouter",
]);

/** An input, and one that differs in the tokens from `from` on, before `to`. */
function inputs(from: number, to: number): [Tensor, Tensor] {
  const first = drawn(5, [TOKENS, WIDTH]);
  const changed = Array.from({ length: TOKENS }, (_, token) => token >= from && token < to);
  const rows = backend.tensor(changed).reshape([TOKENS, 1]);
  return [first, select(rows, drawn(6, [TOKENS, WIDTH]), first)];
}

/** Everything that a routing says of each token. */
async function tokensOf(routing: Routing): Promise<string[]> {
  const rows = await Promise.all(
    tensorsOf(routing).map((tensor) => rowsOf(tensor.reshape([TOKENS, tensor.size / TOKENS]))),
  );
  return Array.from({ length: TOKENS }, (_, token) =>
    JSON.stringify(rows.map((list) => list[token])),
  );
}

function tensorsOf(routing: Routing): Tensor[] {
  if (routing.kind === "token-choice") return [routing.indices, routing.outputWeights];
  if (routing.kind === "soft") return [routing.dispatch, routing.combine];
  throw new Error("an expert's choice is not a token's");
}

/** The routing of one entry on two inputs, token by token. */
async function compare(
  router: CatalogueRouter,
  trained: CatalogueRouter,
  [first, second]: [Tensor, Tensor],
  context: RouteContext,
): Promise<[string[], string[]]> {
  const { params, state } = trained.init(key, { backend, dtype: "f64" });
  const tokenIds = i32(...ids);
  const route = (x: Tensor): Promise<string[]> =>
    tokensOf(router.route(params, state, x, { ...context, tokenIds }));
  return [await route(first), await route(second)];
}

describe("the catalogue", () => {
  it("has every router that the package exports, once", () => {
    const names = Object.keys(everything).filter((name) => name.endsWith("Router"));
    const wanted = names.filter((name) => !tools.has(name));
    expect(routerCatalogue.map(({ name }) => name).sort()).toEqual(wanted.sort());
  });

  it.each(entries)("%s says in words what it is", (_, entry) => {
    for (const text of [entry.summary, entry.formula, entry.source]) {
      expect(text.length).toBeGreaterThan(0);
      expect(text).not.toMatch(/[\n|]/u);
    }
  });

  it.each(entries)("%s says whether tokens look at each other", (_, entry) => {
    const router = entry.make(options);
    expect(router).toMatchObject({ experts: 9, inputSize: WIDTH });
    expect(entry.acrossTokens).toBe(router.acrossTokens);
    expect(router.shapes).toBeDefined();
    expect(router.stateShapes).toBeDefined();
  });

  it.each(entries.filter(([, { acrossTokens }]) => !acrossTokens))(
    "%s routes each token by itself, in training too",
    async (_, entry) => {
      const router = entry.make(options);
      for (const token of [0, 7, TOKENS - 1]) {
        const context = { training: true, key };
        const pair = inputs(token, token + 1);
        const [first, second] = await compare(router, router, pair, context);
        expect(second.toSpliced(token, 1)).toEqual(first.toSpliced(token, 1));
      }
    },
  );

  it.each(entries.filter(([, { causal }]) => causal.rule !== "none"))(
    "%s keeps to its causal rule outside training",
    async (_, entry) => {
      const trained = entry.make(options);
      const router = entry.makeCausal?.(options) ?? trained;
      expect(router.shapes).toEqual(trained.shapes);
      expect(router.stateShapes).toEqual(trained.stateShapes);
      for (const after of [1, 5, 9, TOKENS - 1]) {
        const [first, second] = await compare(router, trained, inputs(after, TOKENS), {});
        expect(second.slice(0, after)).toEqual(first.slice(0, after));
        if (entry.causal.rule === "position") continue;
        const [plain, before] = await compare(router, trained, inputs(0, after), {});
        expect(before.slice(after)).toEqual(plain.slice(after));
      }
    },
  );

  it("calls nothing leaking that is not, and names the reason where there is no rule", async () => {
    const { causal, make } = routerCatalogue.find(
      ({ name }) => name === "softRouter",
    ) as RouterEntry;
    expect(causal).toMatchObject({ rule: "none", reason: expect.stringContaining("later") });
    const soft = make({ ...options, experts: 3 });
    const [first, second] = await compare(soft, soft, inputs(TOKENS - 1, TOKENS), {});
    expect(second[0]).not.toEqual(first[0]);
  });

  it("asks for the vocabulary where a router goes by token ids", () => {
    const { vocabSize: _, ...rest } = options;
    for (const [, entry] of entries) {
      if (!entry.needs?.includes("tokenIds")) expect(() => entry.make(rest)).not.toThrow();
      else expect(() => entry.make(rest)).toThrow(ConfigError);
    }
  });

  it("stands in the README as it is", () => {
    const text = readFileSync(new URL("../README.md", import.meta.url), "utf8");
    const rows = text
      .split("\n")
      .filter((line) => line.startsWith("| `") && line.includes("Router`"))
      .map((line) =>
        line
          .split("|")
          .slice(1, -1)
          .map((cell) => cell.trim()),
      );
    const wanted = routerCatalogue.map((entry) => [
      `\`${entry.name}\``,
      entry.summary,
      entry.formula,
      entry.acrossTokens ? "yes" : "no",
      entry.causal.rule,
      entry.source,
    ]);
    expect(rows).toEqual(wanted);
  });
});
