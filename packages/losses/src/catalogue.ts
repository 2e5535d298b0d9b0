import type { RoutingLoss, Tensor } from "@moiety/core";
import type { BiasController, BiasControllerOptions } from "./bias-controller.ts";
import type { Devices } from "./devices.ts";
import type { BalanceOptions } from "./options.ts";
import type { QuantileController, QuantileControllerOptions } from "./quantile-controller.ts";
import type { ReluController, ReluControllerOptions } from "./relu-controller.ts";

/** What is said of a loss or controller. */
export interface CatalogueText {
  /** The name of the function that makes it. */
  readonly name: string;
  /** One line. */
  readonly summary: string;
  readonly formula: string;
  /** Paper or file. */
  readonly source: string;
}

/** What a loss of the catalogue is made with. */
export interface CatalogueOptions extends BalanceOptions {
  /** Of the losses over devices, which need it. */
  readonly devices?: Devices | undefined;
  /** k, which `reluSparsity` needs. */
  readonly topK?: number | undefined;
  /** `[T]`, which `reinforceLoss` needs. */
  readonly reward?: Tensor | undefined;
}

/** A loss of this package. */
export interface LossEntry extends CatalogueText {
  /** Its value when balanced; – where it has none. */
  readonly balanced: string;
  /**
   * Makes it, with its own defaults: one loss, or the parts of a sum.
   * @throws ConfigError where it needs an option that is missing
   */
  make(options: CatalogueOptions): RoutingLoss[];
}

/** A controller of this package; `reads` says what its update takes. */
export type ControllerEntry = CatalogueText &
  (
    | Made<"loads", [options: BiasControllerOptions], BiasController>
    | Made<"routings", [options?: QuantileControllerOptions], QuantileController>
    | Made<"loads and tokens", [options: ReluControllerOptions], ReluController>
  );

interface Made<Reads extends string, Options extends unknown[], Controller> {
  readonly reads: Reads;
  /**
   * Makes it, with its own defaults.
   * @throws ConfigError where an option is bad
   */
  make(...options: Options): Controller;
}
