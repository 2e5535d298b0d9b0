/**
 * WGSL: a `Choice` is a key with an index; `above` orders them by (key descending, index ascending),
 * and `best_of(lane, choice)` gives every lane of a workgroup the first of their choices.
 */
export function bestText(lanes: number): string {
  const shared = `
struct Choice { key: u32, index: u32 }
const NO_CHOICE = Choice(0u, 0xffffffffu);
fn above(a: Choice, b: Choice) -> bool {
  return a.key > b.key || (a.key == b.key && a.index < b.index);
}
`;
  if (lanes === 1) {
    return `${shared}fn best_of(lane: u32, choice: Choice) -> Choice { return choice; }\n`;
  }
  const step = Math.sqrt(lanes);
  return `${shared}
var<workgroup> best_values: array<Choice, ${lanes}>;
var<workgroup> best_parts: array<Choice, ${step}>;
fn best_of(lane: u32, choice: Choice) -> Choice {
  best_values[lane] = choice;
  workgroupBarrier();
  if (lane < ${step}u) {
    var part = NO_CHOICE;
    for (var i = 0u; i < ${step}u; i++) {
      let other = best_values[lane * ${step}u + i];
      if (above(other, part)) { part = other; }
    }
    best_parts[lane] = part;
  }
  workgroupBarrier();
  var all = NO_CHOICE;
  for (var i = 0u; i < ${step}u; i++) {
    let other = best_parts[i];
    if (above(other, all)) { all = other; }
  }
  return all;
}
`;
}
