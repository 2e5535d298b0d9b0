/** One kind of text, cut into the part to train on and the part that is held out. */
export interface Domain {
  /** Short name, unique among the domains. */
  readonly name: string;
  /** The name in full. */
  readonly title: string;
  /** The first 95 % of the bytes. */
  readonly training: Uint8Array;
  /** The last 5 % of the bytes. */
  readonly heldOut: Uint8Array;
}

/** Bytes of a domain before it is cut. */
export interface RawDomain {
  readonly name: string;
  readonly title: string;
  readonly bytes: Uint8Array;
}

/** The fewest bytes of a domain: its held-out twentieth holds two windows of predictions. */
export function fewestBytes(sequenceLength: number): number {
  return 20 * (2 * sequenceLength + 1);
}

/** Cuts a domain: the first 95 % of its bytes, rounded down, are for training. */
export function splitDomain(domain: RawDomain): Domain {
  const cut = Math.floor((domain.bytes.length * 19) / 20);
  return {
    name: domain.name,
    title: domain.title,
    training: domain.bytes.subarray(0, cut),
    heldOut: domain.bytes.subarray(cut),
  };
}
