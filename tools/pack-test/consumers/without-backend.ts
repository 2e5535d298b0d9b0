// A router and losses without any backend: they are built and described; using them says what lacks.
import { ConfigError, type Tensor, MoietyError, randomKey } from "@moiety/core";
import { switchBalance } from "@moiety/losses";
import { deepseekV3Router, mixtralRouter } from "@moiety/routers";

const router = mixtralRouter({ hiddenSize: 16, numLocalExperts: 8, numExpertsPerTok: 2 });
if (router.experts !== 8 || router.inputSize !== 16 || router.acrossTokens) {
  throw new Error("the router does not say what it is");
}
const balance = switchBalance({ coefficient: 0.01 });
if (balance.coefficient !== 0.01) throw new Error("the loss forgot its coefficient");

expectNamedError(ConfigError, () =>
  mixtralRouter({ hiddenSize: 16, numLocalExperts: 8, numExpertsPerTok: 9 }),
);
// @ts-expect-error `topK` is no option here
expectNamedError(ConfigError, () => deepseekV3Router({ hiddenSize: 16, topK: 2 }));
// @ts-expect-error there is no backend to make parameters on
expectNamedError(MoietyError, () => router.init(randomKey(0), {}));
const nothing = { shape: [4, 16] } as unknown as Tensor;
expectNamedError(MoietyError, () => router.route({ weight: nothing }, {}, nothing));

function expectNamedError(
  kind: abstract new (...parameters: never[]) => Error,
  call: () => unknown,
): void {
  try {
    call();
  } catch (error) {
    if (error instanceof kind) return;
    throw error;
  }
  throw new Error(`no ${kind.name}`);
}
