import { holdCases } from "../testing/conformance.ts";

await holdCases(["L3/quantised/"]);
