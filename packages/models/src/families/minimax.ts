import type { Family } from "../family.ts";
import { mixtralBlock, mixtralDefaults } from "./mixtral.ts";

/** MiniMax-01 (arXiv 2501.08313); its block is Mixtral's. */
export const minimax: Family = {
  modelType: "minimax",
  defaults: mixtralDefaults,
  block: mixtralBlock,
};
