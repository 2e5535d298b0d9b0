// `npm run bench -- kernels`: products and a decomposition on any backend. See README.md.
import {
  type Backend,
  type Shape,
  type Tensor,
  groupedMatmul,
  hostNormal,
  matmul,
  randomKey,
  softmax,
} from "@moiety/core";
import { findBackend } from "../packages/cli/src/conform/backend-module.ts";
import { print, readOptions, runProgram } from "./src/options.ts";
import { type Row, rounded, rowOf, tableOf, writeRows } from "./src/rows.ts";
import { race } from "./src/timing.ts";

interface Kernel {
  readonly name: string;
  /** Floating-point operations, where that says something. */
  readonly operations?: number | undefined;
  run(): Tensor;
}

await runProgram(async () => {
  const options = readOptions({ values: ["json", "backend", "samples"] });
  const { createBackend } = await findBackend(options.text("backend") ?? "cpu");
  const backend = await createBackend();
  const samples = options.number("samples", 15);
  const rows: Row[] = [];
  for (const { name, operations, run } of kernelsOf(backend)) {
    const awaited = async (): Promise<undefined> => {
      const result = run();
      await backend.sync();
      result.dispose();
    };
    // oxlint-disable-next-line no-await-in-loop -- one at a time is the point
    const [timing] = await race([{ run: awaited }], { samples, limit: 10_000 });
    if (timing === undefined) continue;
    rows.push(
      rowOf(name, timing.median, null, null, {
        ...(operations !== undefined && { gflops: rounded(operations / timing.median / 1e6) }),
        samples: timing.samples,
        backend: backend.name,
      }),
    );
  }
  const { details = {} } = backend.capabilities;
  const told = Object.entries(details).map(([name, value]) => `${name} ${String(value)}`);
  print(`backend: ${[backend.name, ...told].join(", ")}; medians in milliseconds`);
  for (const line of tableOf(rows, ["backend"])) print(line);
  const file = options.text("json");
  if (file !== undefined) writeRows(file, rows);
  await backend.dispose();
  return 0;
});

function kernelsOf(backend: Backend): Kernel[] {
  const draw = (seed: number, shape: Shape): Tensor => {
    const size = shape.reduce((product, dimension) => product * dimension, 1);
    return backend.tensor(Float32Array.from(hostNormal(randomKey(seed), size)), { shape });
  };
  const [a, b] = [draw(1, [512, 512]), draw(2, [512, 512])];
  const [rows, experts, inputs, outputs] = [4096, 16, 96, 256];
  const x = draw(3, [rows, inputs]);
  const weights = draw(4, [experts, outputs, inputs]);
  const offsets = backend.tensor(
    Int32Array.from({ length: experts + 1 }, (_, expert) => (expert * rows) / experts),
  );
  const scores = draw(5, [4096, 128]);
  return [
    ...[false, true].map((transposeB) => ({
      name: `matmul 512 × 512 × 512${transposeB ? ", second transposed" : ""}`,
      operations: 2 * 512 ** 3,
      run: () => matmul(a, b, { transposeB }),
    })),
    {
      name: `groupedMatmul ${rows} rows, ${experts} experts, ${inputs} → ${outputs}`,
      operations: 2 * rows * inputs * outputs,
      run: () => groupedMatmul(x, weights, offsets),
    },
    { name: "softmax of 4096 × 128", run: () => softmax(scores) },
  ];
}
