// Writes the page of families anew: a part of `npm run docs`.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../process.js";
import { familiesPage, path } from "./page.js";

writeFileSync(join(root, path), familiesPage());
