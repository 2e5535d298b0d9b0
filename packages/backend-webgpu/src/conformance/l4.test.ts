import { holdLevel } from "../testing/conformance.ts";

await holdLevel("L4/");
