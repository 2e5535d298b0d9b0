import { readdirSync } from "node:fs";
import { join } from "node:path";
import { blockFromConfig, families } from "@moiety/models";
import { root } from "../process.js";
import { cellsOf, header } from "./table.js";

/** Where the page lies, from the root. */
export const path = "docs/families.md";

/** Keys that configuration classes leave to every model, or whose defaults are for a few layers. */
const sizes = {
  // Its first layers choose by a table of token ids; the row is for the others.
  deepseek_v4: { num_hash_layers: 0 },
  deepseek_v2: { num_experts_per_tok: 6 },
  dots1: { n_routed_experts: 128, n_shared_experts: 2, num_experts_per_tok: 6 },
  gemma4: { moe_intermediate_size: 704, num_experts: 128, top_k_experts: 8 },
};

const introduction = `# Families

Every family is one literal in [\`packages/models/src/families\`](../packages/models/src/families), and
this table is made of them by \`npm run docs\`. A row says what the family's block is where its
\`config.json\` says nothing else. Of families with a star whole models are built: with ★ they are held
to recorded models, with ☆ to a second computation. Of the others the block is built.

- *Score*: what logits become. *Chosen by*: what the choice compares, among which experts; before it
  the preset of \`@moiety/routers\`, where the router is more than stages behind a linear gate.
- *Renormalised*: what the chosen weights are divided by. *Scale*: what they are multiplied with then.
- *Experts*: activation, how gate and up are packed, and the layout of the weights.
- *Losses*: under the names that the family's own code gives them, with their coefficients.

`;

/** Where the recorded models lie that tests hold whole models to, each in `model-FAMILY`. */
const recordings = "packages/cli/src/goldens/testdata";

/** The page, from the literals. */
export function familiesPage() {
  const recorded = new Set(readdirSync(join(root, recordings)));
  const rows = Object.entries(families)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, family]) => {
      const given = Object.hasOwn(sizes, name)
        ? sizes[/** @type {keyof typeof sizes} */ (name)]
        : {};
      const cells = cellsOf(blockFromConfig(family, given));
      return [`\`${name}\`${starOf(family, recorded)}`, ...cells, `\`${family.block.prefix}\``];
    });
  const table = [["family", ...header, "in checkpoints"], ...rows];
  const rule = `|${table[0]?.map(() => " --- |").join("")}`;
  const [first = "", ...rest] = table.map(
    (cells) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`,
  );
  return `${introduction}${[first, rule, ...rest].join("\n")}\n`;
}

/**
 * @param {import("@moiety/models").Family} family
 * @param {ReadonlySet<string>} recorded
 */
function starOf({ modelType, decoder }, recorded) {
  if (!decoder) return "";
  return recorded.has(`model-${modelType}`) ? " ★" : " ☆";
}
