import { catalogueCases } from "../../../cli/src/conform/catalogue/index.ts";
import { holdCases } from "../testing/conformance.ts";

// Every router by itself, and every bank on rows.
holdCases(
  ["L1/catalogue/", "L1/grad/catalogue/", "L2/catalogue/", "L3/catalogue/", "L3/grad/catalogue/"],
  {},
  catalogueCases,
);
