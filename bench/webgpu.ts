// `npm run bench -- webgpu`: a layer forward and backward on a WebGPU adapter, and beside it
// onnxruntime's. See README.md.
import createCpu from "@moiety/backend-cpu";
import create from "@moiety/backend-webgpu";
import { assertGradients, timeBackward } from "./src/backward.ts";
import { Forwards } from "./src/forwards.ts";
import { measuredLayer, uploadWeights } from "./src/layer.ts";
import { machineOf } from "./src/machine.ts";
import { print, readOptions, report, runProgram, sizeOptions } from "./src/options.ts";
import { createPeer } from "./src/peer.ts";
import { type Row, tableOf, writeRows } from "./src/rows.ts";
import { type LayerSizes, hostWeights } from "./src/weights.ts";

await runProgram(async () => {
  const options = readOptions({
    values: ["json", "tokens", "backward-tokens", "samples", ...sizeOptions],
    switches: ["no-peers"],
  });
  const sizes: LayerSizes = {
    hidden: options.number("hidden", 512),
    intermediate: options.number("intermediate", 1024),
    experts: options.number("experts", 16),
    topK: options.number("top-k", 2),
  };
  const tokenCounts = options.numbers("tokens", [1, 8, 128, 512]);
  const backwardTokens = options.number("backward-tokens", 512);
  const patience = { samples: options.number("samples", 7), limit: 30_000 };
  const ours = await create();
  const varying = await create({ batchInvariant: false });
  const { adapter, software } = machineOf(ours);
  print(`adapter: ${adapter}${software ? " (no GPU does the work)" : ""}`);
  report("drawing weights …");
  const weights = hostWeights(sizes);
  const layer = measuredLayer(sizes);
  const params = await uploadWeights(ours, weights, "f32");
  const varyingParams = await uploadWeights(varying, weights, "f32");
  const peer = options.has("no-peers") ? undefined : await createPeer(weights, sizes);

  const forwards = new Forwards(
    { weights, sizes, layer, patience },
    { backend: ours, params },
    { backend: varying, params: varyingParams },
    peer,
  );
  const rows: Row[] = [];
  for (const tokens of tokenCounts) {
    report(`forward, T = ${tokens} …`);
    // oxlint-disable-next-line no-await-in-loop -- one at a time is the point
    rows.push(...(await forwards.measure(tokens)));
  }
  report(`forward and backward, T = ${backwardTokens} …`);
  const oracle = await createCpu();
  await assertGradients(layer, sizes, weights, oracle, { backend: ours, params });
  rows.push(await timeBackward(layer, sizes, { backend: ours, params }, backwardTokens, patience));

  const shape = `H ${sizes.hidden}, I ${sizes.intermediate}, E ${sizes.experts}, k ${sizes.topK}`;
  const told = rows.map((row) => ({ ...row, layer: `${shape}, SwiGLU, f32`, adapter }));
  print(`layer: ${shape}, SwiGLU, float32 weights and activations; medians in milliseconds`);
  if (peer) print(`peer: ${peer.name}`);
  for (const line of tableOf(told, ["peer", "note", "layer", "adapter", "error", "peerError"]))
    print(line);
  for (const note of new Set(rows.flatMap(({ note }) => note ?? []))) print(`note: ${note}`);
  const file = options.text("json");
  if (file !== undefined) writeRows(file, told);
  await peer?.dispose();
  for (const backend of [ours, varying, oracle]) await backend.dispose();
  for (const problem of forwards.problems) report(problem);
  return forwards.problems.length > 0 ? 1 : 0;
});
