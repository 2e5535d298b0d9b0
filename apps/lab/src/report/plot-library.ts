import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** The plotting library's own files, to stand inside the page. */
export interface PlotLibrary {
  readonly script: string;
  readonly style: string;
}

/** Reads uPlot from its package, so that the page needs no network. */
export function plotLibrary(): PlotLibrary {
  const manifest = createRequire(import.meta.url).resolve("uplot/package.json");
  const read = (name: string): string =>
    readFileSync(join(dirname(manifest), "dist", name), "utf8");
  return { script: read("uPlot.iife.min.js"), style: read("uPlot.min.css") };
}
