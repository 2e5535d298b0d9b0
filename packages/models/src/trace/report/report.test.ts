import { createContext, runInContext } from "node:vm";
import { ConfigError } from "@moiety/core";
import { describe, expect, it } from "vitest";
import type { RoutedToken } from "../routed-token.ts";
import { clientScript } from "./client-script.ts";
import { MOST_DRAWN_TOKENS, traceReport } from "./report.ts";

const record = (
  sequence: number,
  position: number,
  token: number,
  experts: readonly number[],
): RoutedToken => ({
  sequence,
  position,
  token,
  layers: [
    { layer: 1, experts, weights: experts.map((_, index) => 0.5 ** (index + 1)) },
    { layer: 2, experts: [2], weights: [1], dropped: 1 },
  ],
});

// As a batch gives them: step by step.
const records = [
  record(0, 0, 5, [3, 0]),
  record(1, 0, 6, [1, 3]),
  record(0, 1, 7, []),
  record(1, 1, 8, [0, 1]),
];
const texts = new Map([
  [5, "<b>"],
  [6, "a\tb"],
  [7, "\n"],
  [8, ""],
]);
const layers = [
  { layer: 1, experts: 4 },
  { layer: 2, experts: 4 },
];
const page = traceReport(records, {
  title: "A <trace>",
  tokens: (token) => texts.get(token) ?? "?",
  layers,
});

describe("traceReport", () => {
  it("asks the network for nothing", () => {
    expect(page).toContain("default-src 'none'");
    expect(page).not.toMatch(/<(link|img|iframe|base)\b|<script[^>]+src|@import|url\(/i);
  });

  it("escapes everything foreign", () => {
    expect(page).not.toContain("<b>");
    expect(page).not.toContain("<trace>");
    expect(page).toContain("<title>A &lt;trace&gt;</title>");
    expect(page).toContain(">&lt;b&gt;<sub>");
    const evil = '</script><script>alert("x")</script>';
    const other = traceReport(records, { title: evil, tokens: () => evil });
    expect(other.match(/<script/g)).toHaveLength(2);
    expect(other).not.toContain('alert("x")');
  });

  it("shows the text of each sequence in order, white space marked", () => {
    const [first = "", second = ""] = [
      ...page.matchAll(/<pre class="tokens">\n?(.*?)<\/pre>/gs),
    ].map(([, inside = ""]) =>
      inside.replaceAll(/<sub>.*?<\/sub>/gs, "").replaceAll(/<[^>]*>/g, ""),
    );
    expect(first).toBe("&lt;b&gt;⏎\n");
    expect(second).toBe("a⇥\tb[8]");
    expect(page).toContain("position 1, id 7");
  });

  it("draws the load of every expert in every layer", () => {
    const cells = [...page.matchAll(/<title>layer (\d+), expert (\d+): ([\d.]+) %<\/title>/g)];
    expect(cells.map(([, layer, expert, share]) => [layer, expert, Number(share)])).toEqual([
      ["1", "0", 33.3],
      ["1", "1", 33.3],
      ["1", "2", 0],
      ["1", "3", 33.3],
      ["2", "0", 0],
      ["2", "1", 0],
      ["2", "2", 100],
      ["2", "3", 0],
    ]);
    expect(page).toContain('role="img"');
    const fill = [...page.matchAll(/fill-opacity="([\d.]+)"/g)].map(([, value]) => Number(value));
    // A third of everything is 4/3 of an even share, which is 4/9 of a full cell.
    expect(fill).toEqual([0.444, 0.444, 0, 0.444, 0, 0, 1, 0]);
  });

  it("draws soft routing by its weights", () => {
    const soft = [
      {
        sequence: 0,
        position: 0,
        token: 1,
        layers: [{ layer: 0, experts: [1, 0], weights: [0.9, 0.1] }],
      },
    ];
    const cells = [...traceReport(soft).matchAll(/expert (\d): ([\d.]+) %<\/title>/g)];
    expect(cells.map(([, expert, share]) => `${expert} ${share}`)).toEqual(["0 10.0", "1 90.0"]);
  });

  it("says when it does not draw all tokens", () => {
    const many = Array.from({ length: MOST_DRAWN_TOKENS + 1 }, (_, at) => record(0, at, 5, [1]));
    expect(page).not.toContain("are drawn; loads count all");
    expect(traceReport(many)).toContain(
      `The first ${MOST_DRAWN_TOKENS} of ${MOST_DRAWN_TOKENS + 1} tokens are drawn`,
    );
  });

  it("refuses records that its layers do not have", () => {
    const few = [{ layer: 1, experts: 2 }];
    expect(() => traceReport(records, { layers: few })).toThrow(ConfigError);
    expect(traceReport([])).toContain("Load per layer");
  });
});

/** What of an element the script uses. */
interface FakeElement {
  readonly style: {
    readonly values: Map<string, string>;
    setProperty(key: string, value: string): void;
  };
  readonly dataset: { readonly name: string };
  readonly lastElementChild: { textContent: string };
  className: string;
  textContent: string;
  title: string;
}

function element(name = ""): FakeElement {
  const values = new Map<string, string>();
  return {
    style: { values, setProperty: (key, value) => void values.set(key, value) },
    dataset: { name },
    lastElementChild: { textContent: "" },
    className: "",
    textContent: "",
    title: "",
  };
}

describe("the page's script", () => {
  it("colours and numbers the tokens by the layer that is selected", () => {
    const names = [...page.matchAll(/data-name="([^"]*)"/g)].map(([, name]) => name);
    const tokens = names.map(element);
    expect(tokens).toHaveLength(4);
    const data = /id="trace-data">(.*?)<\/script>/s.exec(page)?.[1] ?? "";
    const legend: FakeElement[] = [];
    let change = (): void => {};
    const select = {
      selectedIndex: 0,
      addEventListener: (_: string, listener: () => void) => {
        change = listener;
      },
    };
    const byId: Record<string, unknown> = {
      "trace-data": { textContent: data },
      layer: select,
      legend: {
        replaceChildren: (...children: FakeElement[]) => legend.splice(0, Infinity, ...children),
      },
    };
    const document = {
      getElementById: (id: string) => byId[id],
      querySelectorAll: () => tokens,
      createElement: () => element(),
    };
    runInContext(clientScript, createContext({ document }));
    // In the order of the page: both tokens of the first sequence, then those of the second.
    expect(tokens.map(({ lastElementChild }) => lastElementChild.textContent)).toEqual([
      "3",
      "–",
      "1",
      "0",
    ]);
    expect(tokens.map(({ className }) => className)).toEqual([
      "token",
      "token none",
      "token",
      "token",
    ]);
    expect(tokens[0]?.title).toContain("layer 1: expert 3 (0.500), expert 0 (0.250)");
    expect(tokens[1]?.title).toContain("no expert");
    const hues = new Set(tokens.map(({ style }) => style.values.get("--hue")));
    expect(hues.size).toBe(3);
    expect(legend.map(({ textContent }) => textContent)).toContain("expert 1: 33.3 %");
    select.selectedIndex = 1;
    change();
    expect(tokens.map(({ lastElementChild }) => lastElementChild.textContent)).toEqual(
      new Array(4).fill("2"),
    );
    expect(tokens[3]?.title).toContain("layer 2: expert 2 (1.000), 1 dropped");
  });
});
