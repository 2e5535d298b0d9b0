import { catalogueCases } from "../../../cli/src/conform/catalogue/index.ts";
import { holdCases } from "../testing/conformance.ts";

// Layers with every router, bank and shared expert, and every loss and controller.
holdCases(["L4/catalogue/", "L4/grad/catalogue/"], {}, catalogueCases);
