import { type Backend, type Tensor, leavesOf, mul, sum, valueAndGrad } from "@moiety/core";
import type { Holder } from "./forwards.ts";
import {
  type LayerParams,
  type MeasuredLayer,
  forward,
  forwardOperations,
  uploadWeights,
} from "./layer.ts";
import { worstError } from "./reference.ts";
import { type Row, rounded, rowOf } from "./rows.ts";
import { type Patience, race } from "./timing.ts";
import { type HostWeights, type LayerSizes, hostInput } from "./weights.ts";

/** Tokens on which gradients are compared. */
const COMPARED = 4;
/** The largest error of a gradient as a share of its largest value. */
const MAY_ERR = 1e-4;

/** Times the gradients of all parameters and of x, with the forward pass that they need. */
export async function timeBackward(
  layer: MeasuredLayer,
  sizes: LayerSizes,
  holder: Holder,
  tokens: number,
  patience: Patience,
): Promise<Row> {
  const { backend } = holder;
  const [x, direction] = inputsOf(backend, sizes, tokens);
  const run = async (): Promise<undefined> => {
    const found = gradientsOf(layer, holder.params, x, direction);
    for (const gradient of found.values()) gradient.dispose();
    await backend.sync();
  };
  const [timing] = await race([{ run }], patience);
  if (timing === undefined) throw new Error("nothing was timed");
  for (const tensor of [x, direction]) tensor.dispose();
  // Each product of the forward pass comes back as two.
  const operations = 3 * forwardOperations(sizes, tokens);
  return rowOf(`forward and backward, T = ${tokens}`, timing.median, null, null, {
    gflops: rounded(operations / timing.median / 1e6),
    samples: timing.samples,
  });
}

/** Holds all gradients against the oracle's. @throws Error where one is wrong */
export async function assertGradients(
  layer: MeasuredLayer,
  sizes: LayerSizes,
  weights: HostWeights,
  oracle: Backend,
  { backend, params }: Holder,
): Promise<void> {
  const wanted = gradientsOf(
    layer,
    await uploadWeights(oracle, weights, "f32"),
    ...inputsOf(oracle, sizes, COMPARED),
  );
  const found = gradientsOf(layer, params, ...inputsOf(backend, sizes, COMPARED));
  for (const [path, tensor] of wanted) {
    // oxlint-disable-next-line no-await-in-loop -- reads do not overlap on these backends
    const [right, got] = await Promise.all([tensor.read(), found.get(path)?.read()]);
    const error = worstError(right, got ?? []);
    if (!(error <= MAY_ERR)) {
      throw new Error(`the gradient of ${path} is off by ${rounded(error)} of its largest value`);
    }
    tensor.dispose();
    found.get(path)?.dispose();
  }
}

/** x, and what the loss multiplies y with before it sums. */
function inputsOf(
  backend: Backend,
  { hidden }: LayerSizes,
  tokens: number,
): [x: Tensor, direction: Tensor] {
  const shape = [tokens, hidden];
  const values = hostInput(2 * tokens, hidden);
  const half = tokens * hidden;
  return [
    backend.tensor(values.slice(0, half), { shape }),
    backend.tensor(values.slice(half), { shape }),
  ];
}

function gradientsOf(
  layer: MeasuredLayer,
  params: LayerParams,
  x: Tensor,
  direction: Tensor,
): Map<string, Tensor> {
  const step = valueAndGrad((tree: { readonly params: LayerParams; readonly x: Tensor }) =>
    sum(mul(forward(layer, tree.params, tree.x), direction)),
  );
  const { loss, grads } = step({ params, x });
  loss.dispose();
  return new Map(leavesOf(grads).map(({ path, leaf }) => [path, leaf as Tensor]));
}
