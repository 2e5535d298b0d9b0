import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Backend, ConfigError, FormatError, type Tensor } from "@moiety/core";
import createCpu from "@moiety/backend-cpu";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { adamW } from "../adamw.ts";
import type { Optimizer } from "../optimizer.ts";
import { disposeTree, tensorsOf } from "../owned.ts";
import { warmupCosine } from "../schedule.ts";
import { sgd } from "../sgd.ts";
import type { TrainingSnapshot } from "../snapshot.ts";
import {
  type ToyParams,
  type ToyState,
  startToy,
  toyBatch,
  toyControl,
  toyLoss,
} from "../testing/toy.ts";
import { train } from "../train.ts";
import { loadTraining, loadTrainings } from "./load.ts";
import { saveTraining, saveTrainings } from "./save.ts";

type Snapshot = TrainingSnapshot<ToyParams, ToyState>;

describe("saving and resuming", () => {
  let backend: Backend;
  let folder: string;
  beforeEach(async () => {
    backend = await createCpu();
    folder = await mkdtemp(join(tmpdir(), "moiety-train-"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const adam = adamW({ learningRate: 0.02 });
  const schedule = warmupCosine({ peak: 0.02, warmupSteps: 3, totalSteps: 8 });

  /** Runs until a number of steps is done. */
  const advance = async (
    start: Snapshot,
    until: number,
    optimizer: Optimizer = adam,
  ): Promise<Snapshot> => {
    const batch = (step: number) => toyBatch(backend, step);
    const options = { loss: toyLoss, optimizer, schedule, batch, clip: 0.5, control: toyControl };
    let snapshot = start;
    for await (const event of train({ ...options, start: { ...start, steps: until } })) {
      snapshot = { ...event.snapshot, steps: start.steps };
    }
    return snapshot;
  };

  const bytesOf = async (snapshot: Snapshot): Promise<string[]> =>
    Promise.all(
      tensorsOf(snapshot).map(async (tensor) => {
        const data = await tensor.read();
        const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
        return `${tensor.dtype}[${tensor.shape}] ${bytes.toString("hex")}`;
      }),
    );

  it.each([
    ["adamW", adam],
    ["sgd with momentum", sgd({ learningRate: 0.05, momentum: 0.9, nesterov: true })],
  ])("goes on to the same bits with %s", async (_, optimizer) => {
    const whole = await advance(startToy(backend, optimizer, 8), 8, optimizer);
    const half = await advance(startToy(backend, optimizer, 8), 5, optimizer);
    await saveTraining(folder, half, { metadata: { seed: 7, note: "half way" } });
    const fresh = await createCpu();
    const { snapshot, metadata } = await loadTraining<ToyParams, ToyState>(folder, fresh);
    expect(metadata).toEqual({ seed: 7, note: "half way" });
    expect(snapshot).toMatchObject({ step: 5, steps: 8, key: half.key });
    expect(await bytesOf(snapshot)).toEqual(await bytesOf(half));
    backend = fresh;
    const resumed = await advance(snapshot, 8, optimizer);
    expect(resumed.step).toBe(8);
    expect(await bytesOf(resumed)).toEqual(await bytesOf(whole));
  });

  it("keeps the form of trees and the bits of every dtype", async () => {
    const odd = {
      floats: [
        backend.tensor(Float32Array.of(-0, 1e-42, 3)),
        backend.tensor(Float64Array.of(1e300)),
      ],
      words: backend.tensor(Uint32Array.of(0xffffffff, 0)),
      flags: backend.tensor([true, false, true]),
      half: backend.tensor(Uint16Array.of(0x7e01, 1), { dtype: "f16" }),
      codes: { codes: backend.tensor(Uint8Array.of(1, 255)), scales: backend.tensor([0.5]) },
      nothing: null,
      absent: undefined,
      list: [{ deep: 1.5 }, "text", true, []],
      empty: backend.tensor(new Float32Array(0), { shape: [0, 4] }),
    };
    const key = [1, 4294967295] as const;
    const snapshot = { params: odd, state: {}, optimizer: {}, step: 0, steps: 1, key };
    await saveTraining(folder, snapshot as never);
    const { snapshot: back } = await loadTraining<typeof odd, object>(folder, backend);
    expect(await bytesOf(back as never)).toEqual(await bytesOf(snapshot as never));
    expect(back.params.half.dtype).toBe("f16");
    expect(back.params.empty.shape).toEqual([0, 4]);
    expect(back.params.list).toEqual(odd.list);
    expect(back.params.nothing).toBeNull();
    expect("absent" in back.params).toBe(false);
    expect(back.key).toEqual(key);
  });

  it("saves several runs at once", async () => {
    const sparse = await advance(startToy(backend, adam, 8), 2);
    const dense = await advance(startToy(backend, adam, 8), 1);
    await saveTrainings(folder, { sparse, dense });
    const { snapshots } = await loadTrainings<ToyParams, ToyState>(folder, backend);
    expect(snapshots["sparse"]?.step).toBe(2);
    expect(snapshots["dense"]?.step).toBe(1);
    expect(await bytesOf(snapshots["dense"] as Snapshot)).toEqual(await bytesOf(dense));
    await expect(loadTraining(folder, backend)).rejects.toThrow(/sparse, dense/);
  });

  it("keeps the snapshot before when saving fails half way, and nothing stale after", async () => {
    const first = await advance(startToy(backend, adam, 8), 1);
    await saveTraining(folder, first);
    const kept = await bytesOf(first);
    const second = await advance(first, 2);
    const torn = { ...second, params: { ...second.params, ids: goneTensor(backend) } };
    const before = (await readdir(folder)).sort();
    await expect(saveTraining(folder, torn)).rejects.toThrow(/disposed/);
    expect((await readdir(folder)).sort()).toEqual(before);
    const { snapshot } = await loadTraining<ToyParams, ToyState>(folder, backend);
    expect(await bytesOf(snapshot)).toEqual(kept);
    await writeFile(join(folder, ".training-9-abc.safetensors.def.tmp"), "left by a killed run");
    await saveTraining(folder, second);
    const files = await readdir(folder);
    expect(files).toHaveLength(2);
    expect(files).toContain("training.json");
  });

  it("holds the trees against those that are wanted", async () => {
    const saved = await advance(startToy(backend, adam, 8), 1);
    await saveTraining(folder, saved);
    const like = startToy(backend, adam, 8);
    await loadTraining(folder, backend, like);
    const live = backend.statistics().liveBuffers;
    const { router, experts, ids } = like.params;
    const wrong: readonly (readonly [object, RegExp])[] = [
      [
        { router, experts: { ...experts, gate: ids }, ids },
        /training\.params\.experts\.gate is mis/,
      ],
      [
        { router, experts: { up: experts.up }, ids },
        /training\.params\.experts\.down stands in it/,
      ],
      [
        { router, experts: { ...experts, up: ids }, ids },
        /experts\.up is \[4, 5, 6\] in it, but \[3\]/,
      ],
      [
        { router, experts, ids: backend.tensor([1, 2, 3]) },
        /params\.ids is I32 in it, but F32 here/,
      ],
    ];
    for (const [params, message] of wrong) {
      const loading = loadTraining(folder, backend, { params, state: like.state });
      await expect(loading).rejects.toThrow(ConfigError);
      await expect(loading).rejects.toThrow(message);
    }
    const other = { ...like, optimizer: sgd({ learningRate: 1 }).init(like.params) };
    await expect(loadTraining(folder, backend, other)).rejects.toThrow(/optimizer\.first/);
    disposeTree(wrong[3]?.[0] && (wrong[3][0] as { ids: Tensor }).ids);
    expect(backend.statistics().liveBuffers).toBe(live);
  });

  it("refuses damaged files, and leaves nothing behind", async () => {
    await saveTraining(folder, await advance(startToy(backend, adam, 8), 1));
    const manifest = join(folder, "training.json");
    const name = (await readdir(folder)).find((file) => file.endsWith(".safetensors")) ?? "";
    const [text, tensors] = [await readFile(manifest, "utf8"), await readFile(join(folder, name))];
    const flipped = Buffer.from(tensors);
    flipped[flipped.length - 5] = (flipped[flipped.length - 5] ?? 0) ^ 4;
    const damage: readonly (readonly [string, string | Buffer, RegExp])[] = [
      [name, tensors.subarray(0, tensors.length - 8), /cut short/],
      [name, tensors.subarray(0, 100), /cut short/],
      [name, Buffer.alloc(0), /safetensors/],
      [name, flipped, /SHA-256/],
      ["training.json", text.slice(0, text.length / 2), /training\.json/],
      ["training.json", text.replace('"version": 1', '"version": 2'), /version is 2/],
      ["training.json", text.replace(/"step": 1/, '"step": -1'), /step and steps/],
      ["training.json", text.replace(/"file": "[^"]*"/, '"file": "../secret"'), /tensor file/],
      ["training.json", text.replace("params.ids", "params.idz"), /params\.id[sz].*name/],
      ["training.json", "[]", /object/],
    ];
    const live = backend.statistics().liveBuffers;
    for (const [file, content, message] of damage) {
      await writeFile(join(folder, file), content);
      const loading = loadTraining(folder, backend);
      await expect(loading, String(message)).rejects.toThrow(FormatError);
      await expect(loading).rejects.toThrow(message);
      await writeFile(manifest, text);
      await writeFile(join(folder, name), tensors);
    }
    expect(backend.statistics().liveBuffers).toBe(live);
    await loadTraining(folder, backend);
  });

  it("refuses folders that hold nothing or cannot be written, and values no file holds", async () => {
    await expect(loadTraining(join(folder, "none"), backend)).rejects.toThrow(/no saved training/);
    await saveTraining(folder, startToy(backend, adam, 8));
    const name = (await readdir(folder)).find((file) => file.endsWith(".safetensors")) ?? "";
    await rm(join(folder, name));
    await expect(loadTraining(folder, backend)).rejects.toThrow(ConfigError);
    const file = join(folder, "file");
    await writeFile(file, "");
    const toy = startToy(backend, adam, 8);
    await expect(saveTraining(join(file, "below"), toy)).rejects.toThrow(/cannot make the folder/);
    const strange = join(folder, "strange");
    await mkdir(strange);
    const withFunction = { ...toy, state: { layers: [], update: () => 1 } };
    await expect(saveTraining(strange, withFunction)).rejects.toThrow(/training\.state\.update/);
    const metadata = { loss: Number.NaN };
    await expect(saveTraining(strange, toy, { metadata })).rejects.toThrow(/metadata\.loss/);
    expect(await readdir(strange)).toEqual([]);
  });
});

function goneTensor(backend: Backend): Tensor {
  const tensor = backend.tensor([1]);
  tensor.dispose();
  return tensor;
}
