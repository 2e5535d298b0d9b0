import { ConfigError, type RoutingLoss } from "@moiety/core";
import { controllerCatalogue, huggingFaceBalance, lossCatalogue } from "@moiety/losses";

/** What keeps the load even: a loss, a control of the routers' state, or neither. */
export interface Balance {
  readonly name: string;
  /** One line. */
  readonly summary: string;
  /** Makes the losses; absent where it is none. */
  losses?(coefficient: number): readonly RoutingLoss[];
  /** The controller of selection biases, where it is one. */
  readonly control?: "bias" | "quantile";
  /** The router that it is for, where it is for one alone. */
  readonly router?: string;
  /** Why it cannot be chosen. */
  readonly refusal?: string;
}

const refusals: Readonly<Record<string, string>> = {
  deepseekDeviceBalance: "it is over several devices, and this experiment trains on one",
  deepseekCommunicationBalance: "it is over several devices, and this experiment trains on one",
  reluSparsity: "reluRouter brings it along, and no other router has its factor",
  reluController: "reluRouter brings it along, and no other router has its factor",
  reinforceLoss: "reinforceRouter brings it along, with the byte's own loss as its reward",
};

/** Losses for the routings of one router alone. */
const onlyFor: Readonly<Record<string, string>> = { dogeBalance: "dogeRouter" };

const controls: Readonly<Record<string, "bias" | "quantile">> = {
  biasController: "bias",
  quantileController: "quantile",
};

const short: readonly Balance[] = [
  {
    name: "switch",
    summary: "an auxiliary loss on the routers, that of Hugging Face: huggingFaceBalance",
    losses: (coefficient) => [huggingFaceBalance({ coefficient })],
  },
  {
    name: "bias",
    summary: "a selection bias that follows the load, without a loss: biasController",
    control: "bias",
  },
  { name: "none", summary: "nothing keeps the load even" },
];

const losses = /*#__PURE__*/ lossCatalogue.map(({ name, summary, make }): Balance => {
  const [router, refusal] = [onlyFor[name], refusals[name]];
  return {
    name,
    summary,
    losses: (coefficient) => make({ coefficient }),
    ...(router !== undefined && { router }),
    ...(refusal !== undefined && { refusal }),
  };
});

const controllers = /*#__PURE__*/ controllerCatalogue.map(({ name, summary }): Balance => {
  const control = controls[name];
  if (control !== undefined) return { name, summary, control };
  return { name, summary, refusal: refusals[name] ?? "nothing here can run it" };
});

/** Names that `--balance` takes; some of them are refused, with the reason. */
export const balances: Readonly<Record<string, Balance>> = /*#__PURE__*/ Object.fromEntries(
  /*#__PURE__*/ [...short, ...losses, ...controllers].map((balance) => [balance.name, balance]),
);

/** A balance by its name. @throws ConfigError */
export function balanceOf(name: string): Balance {
  const balance = Object.hasOwn(balances, name) ? balances[name] : undefined;
  if (balance !== undefined) return balance;
  throw new ConfigError(`the balance ${name} is not in the catalogue`, "balance", name);
}
