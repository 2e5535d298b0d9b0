import { broadcastPlaces } from "../../yardstick/places.ts";
import type { BrokenCall, Values } from "./broken-call.ts";

/** Reads an operand where an output's element stands, as it broadcasts; `scalar` where it is absent. */
export function operandAt(
  broken: BrokenCall,
  index: number,
  output: Pick<Values, "shape">,
  scalar = 0,
): (place: number) => number {
  const operand = broken.optional(index);
  if (operand === undefined) return () => scalar;
  const places = broadcastPlaces(operand.shape, output.shape);
  return (place) => operand.data[places[place] ?? 0] ?? 0;
}
