// One self-contained file for a machine with a GPU: a large layer in float32 and with half-float
// weights, what share of the machine it uses, and what a dispatch costs. See README.md.
import { join } from "node:path";
import { create } from "@moiety/backend-webgpu";
import { machineOf } from "./src/machine.ts";
import { dispatchCost, measureLayer } from "./src/gpu-layer.ts";
import { print, readOptions, report, runProgram, sizeOptions } from "./src/options.ts";
import { type Row, tableOf, writeRows } from "./src/rows.ts";
import type { LayerSizes } from "./src/weights.ts";

await runProgram(async () => {
  const options = readOptions({
    values: ["json", "tokens", "storage", "samples", "dawn-flags", ...sizeOptions],
  });
  const sizes: LayerSizes = {
    hidden: options.number("hidden", 2816),
    intermediate: options.number("intermediate", 704),
    experts: options.number("experts", 128),
    topK: options.number("top-k", 8),
  };
  const storages = (options.text("storage") ?? "f32,f16").split(",");
  const tokens = options.numbers("tokens", [1, 8, 512, 4096]);
  const patience = { samples: options.number("samples", 9), limit: 60_000 };
  const dawnFlags = options.text("dawn-flags")?.split(",");
  const backend = await create({ dawnFlags });
  const machine = machineOf(backend);
  print(`adapter: ${machine.adapter}${machine.software ? " (no GPU does the work)" : ""}`);
  print(`features: ${machine.features.join(" ")}; ${machine.platform}, ${machine.date}`);
  const rows: Row[] = [await dispatchCost(backend, patience)];
  for (const storage of storages) {
    if (storage !== "f32" && storage !== "f16") {
      throw new Error(`--storage takes f32 and f16, not "${storage}"`);
    }
    report(`weights in ${storage} …`);
    // oxlint-disable-next-line no-await-in-loop -- one at a time is the point
    rows.push(...(await measureLayer(backend, sizes, storage, tokens, patience)));
  }
  const { hidden, intermediate, experts, topK } = sizes;
  const layer = `H ${hidden}, I ${intermediate}, E ${experts}, k ${topK}, SwiGLU`;
  print(`layer: ${layer}; medians in milliseconds`);
  for (const line of tableOf(rows, ["error"])) print(line);
  const folder = process.env["OUT"] ?? "";
  const file =
    options.text("json") ?? (folder === "" ? undefined : join(folder, "moiety-gpu.json"));
  if (file !== undefined) {
    writeRows(
      file,
      rows.map((row) => ({ ...row, layer, machine })),
    );
    report(`written: ${file}`);
  }
  await backend.dispose();
  return 0;
});
