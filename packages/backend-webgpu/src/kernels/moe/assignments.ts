/** Assignments of one expert that are multiplied together, at most. */
const SHARED_ROWS = 4;

/** WGSL: the expert of an assignment; `params.groups + 1` where it has none. */
export const EXPERT_OF: string = `
fn expert_of(a: u32) -> u32 {
  let id = load_indices(a);
  return select(u32(id), params.groups + 1u, id < 0 || u32(id) >= params.groups);
}`;

/** How the assignments of a few tokens are met. */
export interface Meeting {
  /** Assignments that meet a matrix at once. */
  readonly rows: number;
  /** WGSL: declares `owner`, the expert of assignment `item`. */
  readonly owner: (item: string) => string;
  /** WGSL behind it: declares the rows and `limit`, or returns. */
  readonly begin: (item: string) => string;
  /** WGSL: a row of those that meet; `limit` or more where there is none. */
  readonly rowAt: (number: string) => string;
}

/** Each assignment by itself. */
export const ALONE: Meeting = {
  rows: 1,
  owner: (item) => `let owner = expert_of(${item});`,
  begin: (item) => `let first = ${item}; let limit = ${item} + 1u;`,
  rowAt: () => "first",
};

/**
 * The assignments of an expert by fours, so that its weights are read once for all of them: the first
 * of each four takes the others along, which then have nothing to do.
 */
export const TOGETHER: Meeting = {
  rows: SHARED_ROWS,
  owner: ALONE.owner,
  begin: (item) => `let limit = params.rows;
var chosen = array<u32, ${SHARED_ROWS}>(${new Array(SHARED_ROWS).fill("limit").join(", ")});
var before = 0u;
var count = 0u;
for (var a = 0u; a < limit; a++) {
  if (expert_of(a) != owner) { continue; }
  if (a < ${item}) { before += 1u; }
  else if (count < ${SHARED_ROWS}u) { chosen[count] = a; count += 1u; }
}
if (before % ${SHARED_ROWS}u != 0u) { return; }`,
  rowAt: (number) => `chosen[${number}]`,
};

/**
 * Whether so many assignments meet in an expert often enough. Experts drawn evenly have 1.25 of them
 * each, if any, where there are half as many assignments as experts; routers draw less evenly.
 */
export function meetOften(tokens: number, choices: number, experts: number): boolean {
  return tokens > 1 && 2 * tokens * choices >= experts;
}
