import { holdCases } from "../testing/conformance.ts";

// Without relaxed instructions, on one thread: other code for most of these.
holdCases(["L0/reduce/", "L0/unary/", "L1/", "L3/", "L4/"], { exact: true, threads: 1 });
