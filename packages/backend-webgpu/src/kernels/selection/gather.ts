import { sizeOf } from "@moiety/core";
import type { Kernel, KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { type Operand, type Param, read, u32, write } from "../../program.ts";
import { type Unit, bytesOf, copyIndexed } from "./indexed-copy.ts";

/** `gatherRows`, by the largest unit that rows consist of. */
export const gatherRows: Kernel = (call) => {
  const table = call.input(0);
  const ids = call.input(1);
  const y = call.make(0);
  const width = sizeOf(table.shape.slice(1));
  const rowBytes = width * bytesOf(table.dtype);
  const unit = unitOf(rowBytes, bytesOf(table.dtype));
  const units = unit.lanes > 1 ? width : rowBytes / (unit.type === "u32" ? 4 : 16);
  copyIndexed(call, {
    name: "gatherRows",
    unit,
    count: ids.size * units,
    source: table.handle,
    target: y,
    ids,
    params: { units: u32(units), rows: u32(table.shape[0] ?? 0) },
    sourceOf: `
fn source_of(unit: u32) -> u32 {
  let id = load_ids(unit / params.units);
  if (id < 0 || u32(id) >= params.rows) { return NONE; }
  return u32(id) * params.units + unit % params.units;
}`,
  });
  return [y];
};

function unitOf(rowBytes: number, elementBytes: 1 | 2 | 4): Unit {
  if (rowBytes % 16 === 0) return { type: "vec4<u32>", lanes: 1 };
  if (rowBytes % 4 === 0) return { type: "u32", lanes: 1 };
  return { type: "u32", lanes: elementBytes === 1 ? 4 : 2 };
}

/** Sizes before, along and behind the axis of an op along an axis. */
function alongParams(call: KernelCall, indices: number): Record<string, Param> {
  const { axis } = call.attributes<{ axis: number }>();
  const { shape } = call.input(0);
  const steps = call.input(indices).shape[axis] ?? 0;
  return {
    steps: u32(steps),
    size: u32(shape[axis] ?? 0),
    inner: u32(sizeOf(shape.slice(axis + 1))),
  };
}

/** WGSL: the element of the tensor with `size` places that an element of the indices names. */
const ALONG = `
fn source_of(unit: u32) -> u32 {
  let index = load_ids(unit);
  if (index < 0 || u32(index) >= params.size) { return NONE; }
  let outer = unit / params.inner / params.steps;
  return (outer * params.size + u32(index)) * params.inner + unit % params.inner;
}`;

/** `takeAlong`. */
export const takeAlong: Kernel = (call) => {
  const x = call.input(0);
  const ids = call.input(1);
  const y = call.make(0);
  copyIndexed(call, {
    name: "takeAlong",
    unit: { type: "u32", lanes: (4 / bytesOf(x.dtype)) as 1 | 2 | 4 },
    count: ids.size,
    source: x.handle,
    target: y,
    ids,
    params: alongParams(call, 1),
    sourceOf: ALONG,
  });
  return [y];
};

/**
 * `putAlong`: into the donated tensor, or a copy. Where elements share a word, it is written down
 * first which update goes where, and each word is then put together by one invocation.
 */
export const putAlong: Kernel = (call) => {
  const x = call.input(0);
  const updates = call.input(2);
  const y = call.donated(0, 0) ?? call.make(0);
  if (y !== x.handle) call.copy(x.handle, 0, y, 0, Math.ceil(x.handle.byteLength / 4) * 4);
  const lanes = (4 / bytesOf(x.dtype)) as 1 | 2 | 4;
  if (lanes === 1) {
    scatter(call, y, read(updates.handle, "u32"));
    return [y];
  }
  const origins = call.temporary({ shape: [x.size], dtype: "u32" });
  clear(call, origins, x.size);
  scatter(call, origins, undefined);
  mergeLanes(call, y, origins, lanes);
  return [y];
};

/** Puts updates, or one more than their numbers, where the indices say. */
function scatter(call: KernelCall, target: GpuHandle, updates: Operand | undefined): void {
  const ids = call.input(1);
  const operands: Record<string, Operand> = {
    ids: read(ids.handle, "i32"),
    y: write(target, "u32"),
  };
  if (updates) operands["updates"] = updates;
  call.dispatch(
    {
      name: "putAlong",
      operands,
      params: { ...alongParams(call, 1), count: u32(ids.size) },
      text: () => ({
        declarations: `const NONE = 0xffffffffu;\n${ALONG}`,
        main: `if (index >= params.count) { return; }
let place = source_of(index);
if (place != NONE) { store_y(place, ${updates ? "load_updates(index)" : "index + 1u"}); }`,
      }),
    },
    { invocations: ids.size },
  );
}

function clear(call: KernelCall, target: GpuHandle, words: number): void {
  call.dispatch(
    {
      name: "putAlongClear",
      operands: { y: write(target, "u32") },
      params: { words: u32(words) },
      text: () => ({ main: "if (index < params.words) { store_y(index, 0u); }" }),
    },
    { invocations: words },
  );
}

function mergeLanes(call: KernelCall, y: GpuHandle, origins: GpuHandle, lanes: 2 | 4): void {
  const [width, mask] = lanes === 2 ? [16, "0xffffu"] : [8, "0xffu"];
  const count = call.input(0).size;
  const words = Math.ceil(count / lanes);
  call.dispatch(
    {
      name: "putAlongLanes",
      variant: `${lanes}`,
      operands: {
        origins: read(origins, "u32"),
        updates: read(call.input(2).handle, "u32"),
        y: write(y, "u32"),
      },
      params: { words: u32(words), count: u32(count) },
      text: () => ({
        main: `if (index >= params.words) { return; }
var bits = load_y(index);
for (var lane = 0u; lane < ${lanes}u; lane++) {
  let element = index * ${lanes}u + lane;
  if (element >= params.count) { break; }
  let origin = load_origins(element);
  if (origin == 0u) { continue; }
  let update = origin - 1u;
  let value = (load_updates(update / ${lanes}u) >> (update % ${lanes}u * ${width}u)) & ${mask};
  bits = (bits & ~(${mask} << (lane * ${width}u))) | (value << (lane * ${width}u));
}
store_y(index, bits);`,
      }),
    },
    { invocations: words },
  );
}
