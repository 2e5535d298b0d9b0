import type { Tensor } from "../tensor.ts";

/** What a router may look at beside its input. */
export interface RouteContext {
  /** Where sequences begin and end in T: `[0, …, T]`. One sequence unless given. */
  readonly sequences?: readonly number[] | undefined;
  /** `[T]` bool: false for padding, which losses, loads and capacity leave out. */
  readonly mask?: Tensor | undefined;
  /** `[T]` i32 token ids, for hash and table routers. */
  readonly tokenIds?: Tensor | undefined;
  /** `[T]` i32 labels such as the task, for routers whose coarse step goes by them. */
  readonly labels?: Tensor | undefined;
  /** What an earlier layer's routing carried. */
  readonly previous?: Carry | undefined;
  /** Key of this call's random numbers; routers with noise need it, or `noise`, in training. */
  readonly key?: readonly [number, number] | undefined;
  /** Standard noise `[T, E]` instead of drawn noise, for tests and replay. */
  readonly noise?: Tensor | undefined;
  /**
   * `[T, k]` i32: the choices of an earlier run, played back instead of made anew (before capacity;
   * `E` means no expert). Scores, weights and gradients follow from them.
   */
  readonly selected?: Tensor | undefined;
  /** Whether this is a training step. False unless given. */
  readonly training?: boolean | undefined;
}

/** What a router hands to the router of a later layer, by name. */
export type Carry = { readonly [name: string]: Tensor };

/** What every routing carries, so that losses and traces need nothing else. */
export interface RoutingBase {
  /** Number of experts E. */
  readonly experts: number;
  /** `[T, E]` router outputs before the score function. */
  readonly logits: Tensor;
  /** `[T, E]` after softmax, sigmoid, … */
  readonly scores: Tensor;
  readonly mask?: Tensor | undefined;
  readonly sequences?: readonly number[] | undefined;
  /** Of noisy routers: the logits without noise, and the noise's scale (Shazeer's load loss). */
  readonly noise?: { readonly clean: Tensor; readonly scale: Tensor } | undefined;
  /** For a later router's `previous`. */
  readonly carry?: Carry | undefined;
}

/** Each token chooses its experts. */
export interface TokenChoice extends RoutingBase {
  readonly kind: "token-choice";
  /** `[T, k]` i32 after capacity: what `mix` reads. `E` means no expert. */
  readonly indices: Tensor;
  /** `[T, k]` i32 before dropping: what losses and loads read. */
  readonly selected: Tensor;
  /** `[T, k]` factors of the experts' outputs. */
  readonly outputWeights: Tensor;
  /** `[T, k]` factors of the experts' inputs (Llama 4). */
  readonly inputWeights?: Tensor | undefined;
  /** Of routers with a varying count: the most choices a token may have. */
  readonly maxActive?: number | undefined;
}

/** Each expert chooses its tokens, within each group of tokens. */
export interface ExpertChoice extends RoutingBase {
  readonly kind: "expert-choice";
  /** `[G, E, C]` i32 token indices in T; `T` means an empty place. */
  readonly tokens: Tensor;
  /** `[G, E, C]` factors of the experts' outputs. */
  readonly weights: Tensor;
}

/** Every expert's slots take a mixture of all tokens (Soft MoE), within each group of tokens. */
export interface Soft extends RoutingBase {
  readonly kind: "soft";
  /** Slots per expert, S = E · slots. */
  readonly slots: number;
  /** `[G, T/G, S]` weights with which slots take tokens. */
  readonly dispatch: Tensor;
  /** `[G, T/G, S]` weights with which tokens take slots. */
  readonly combine: Tensor;
  /** `[T, H]` what is dispatched, where it is not the layer's input. */
  readonly source?: Tensor | undefined;
}

/** A router's answer. */
export type Routing = TokenChoice | ExpertChoice | Soft;
