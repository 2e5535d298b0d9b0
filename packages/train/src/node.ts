/**
 * Saving and resuming training on disk.
 * @packageDocumentation
 */
export type { Like } from "./node/like.ts";
export {
  type LoadedTraining,
  type LoadedTrainings,
  loadTraining,
  loadTrainings,
} from "./node/load.ts";
export { type SaveOptions, saveTraining, saveTrainings } from "./node/save.ts";
