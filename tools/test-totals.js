// `node tools/test-totals.js REPORT EXIT_CODE` prints "N passed, N failed" from vitest's JSON report.
import { readFileSync } from "node:fs";
import { countTests } from "./totals.js";

const [file = "", code = "1"] = process.argv.slice(2);
const { passed, failed } = countTests(JSON.parse(readFileSync(file, "utf8")), Number(code));
console.log(`${passed} passed, ${failed} failed`);
