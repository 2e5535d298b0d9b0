import { holdCases } from "../testing/conformance.ts";

holdCases(["L0/"]);
