import type { KernelCall } from "../../kernel.ts";
import type { Routine } from "../../routine.ts";
import { FACTOR_DTYPES, type FactorDType, factorBytes } from "./elements.ts";
import { packAcross } from "./pack-across.ts";
import { packAlong } from "./pack-along.ts";
import {
  type PackLayout,
  type PackMatrix,
  type PackParameters,
  cutPanels,
  cutSteps,
  definePack,
  launchJobs,
} from "./pack-job.ts";
import { PACKED_STEP_BYTES, PANEL_ROW_BYTES } from "./tile.ts";

/** The routines that pack matrices of one dtype. */
interface PackRoutines {
  /** Panels of a matrix whose elements along k are neighbours. */
  readonly along: Routine<PackParameters>;
  /** Panels of a matrix whose columns are neighbours. */
  readonly across: Routine<PackParameters>;
  /** Panels of any other matrix. */
  readonly scattered: Routine<PackParameters>;
}

const routines: Readonly<Record<FactorDType, PackRoutines>> = {
  f32: /*#__PURE__*/ definePacks("f32"),
  f16: /*#__PURE__*/ definePacks("f16"),
  bf16: /*#__PURE__*/ definePacks("bf16"),
};

/** Tiles of six columns, that become rows of a left factor. */
const packTiles = /*#__PURE__*/ definePack("packTiles", (body, args, job) =>
  packAcross(body, args, job, { dtype: "f32", stepBytes: PACKED_STEP_BYTES, block: 8 }),
);

/** Packs columns of right factors into panels. */
export function launchPack(
  call: KernelCall,
  dtype: FactorDType,
  matrices: readonly PackMatrix[],
  layout: PackLayout,
): void {
  const { along, across, scattered } = routines[dtype];
  const bytes = factorBytes(dtype);
  if (layout.innerBytes === bytes && layout.gathered === 0) {
    launchJobs(call, along, cutPanels(matrices), layout);
  } else {
    const routine = layout.columnBytes === bytes ? across : scattered;
    launchJobs(call, routine, cutSteps(matrices), layout);
  }
}

/** Packs neighbouring columns into the tiles of packed left factors. */
export function launchPackTiles(
  call: KernelCall,
  matrices: readonly PackMatrix[],
  layout: PackLayout,
): void {
  launchJobs(call, packTiles, cutSteps(matrices), layout);
}

function definePacks(dtype: FactorDType): PackRoutines {
  const across = { dtype, stepBytes: PANEL_ROW_BYTES };
  const block = dtype === "f32" ? 8 : 4;
  return {
    along: definePack(`packAlong_${dtype}`, (body, args, job) => packAlong(body, args, job, dtype)),
    across: definePack(`packAcross_${dtype}`, (body, args, job) =>
      packAcross(body, args, job, { ...across, block }),
    ),
    scattered: definePack(`packScattered_${dtype}`, (body, args, job) =>
      packAcross(body, args, job, { ...across, block: 1, scattered: true }),
    ),
  };
}

/** The routines of this file. */
export const packRoutines: readonly Routine[] = [
  packTiles,
  .../*#__PURE__*/ FACTOR_DTYPES.flatMap((dtype) => Object.values(routines[dtype]) as Routine[]),
];
