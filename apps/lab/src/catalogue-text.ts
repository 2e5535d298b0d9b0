import { balances } from "./balances.ts";
import {
  causalRule,
  evenReason,
  routerRefusal,
  routerSummary,
  routers,
  usualBalance,
} from "./routers.ts";
import { type Cell, columns } from "./text-columns.ts";

/** The catalogue as `--list` prints it: a line for each router and each balance. */
export function catalogueText(): string {
  const unmoved = Object.keys(routers).filter((name) => evenReason(name) !== undefined);
  return [
    "Routers, for --router. Marked with * are those whose tokens look at each other in training; a",
    "causal model is evaluated by the rule at the end of the line, or not at all.",
    "",
    columns(routerRows(), ["left", "left", "left", "left"]),
    "",
    "Balances, for --balance. The load of some routers is even by construction, or fixed, and takes",
    `none: ${unmoved.join(", ")}.`,
    "",
    columns(balanceRows(), ["left", "left", "left"]),
    "",
  ].join("\n");
}

function routerRows(): readonly (readonly Cell[])[] {
  const rows = Object.values(routers).map((entry): readonly Cell[] => {
    const refusal = routerRefusal(entry);
    return [
      `${entry.acrossTokens ? "*" : " "} ${entry.name}`,
      routerSummary(entry),
      refusal === undefined ? usualBalance(entry.name) : "–",
      refusal === undefined ? causalRule(entry) : `refused: ${refusal}`,
    ];
  });
  return [["  name", "what it does", "balance", "evaluated"], ...rows];
}

function balanceRows(): readonly (readonly Cell[])[] {
  const rows = Object.values(balances).map(({ name, summary, router, refusal }) => [
    `  ${name}`,
    summary,
    refusal !== undefined
      ? `refused: ${refusal}`
      : router !== undefined
        ? `for ${router} alone`
        : "",
  ]);
  return [["  name", "what it does", ""], ...rows];
}
