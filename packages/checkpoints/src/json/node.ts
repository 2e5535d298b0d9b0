/** A parsed JSON value that knows where it stood. `offset` counts bytes from the file's start. */
export type JsonNode =
  | JsonObjectNode
  | JsonArrayNode
  | JsonStringNode
  | JsonNumberNode
  | JsonLiteralNode;

/** A JSON object; its keys are distinct and in the order of the file. */
export interface JsonObjectNode {
  readonly kind: "object";
  readonly offset: number;
  readonly entries: readonly JsonEntry[];
}

/** One key of an object, with the offset of the key. */
export interface JsonEntry {
  readonly key: string;
  readonly offset: number;
  readonly value: JsonNode;
}

/** A JSON array. */
export interface JsonArrayNode {
  readonly kind: "array";
  readonly offset: number;
  readonly items: readonly JsonNode[];
}

/** A JSON string, unescaped. */
export interface JsonStringNode {
  readonly kind: "string";
  readonly offset: number;
  readonly value: string;
}

/** A JSON number as it was written: `10000.0` and `10000` are told apart by their text. */
export interface JsonNumberNode {
  readonly kind: "number";
  readonly offset: number;
  readonly text: string;
}

/** `true`, `false` or `null`. */
export interface JsonLiteralNode {
  readonly kind: "literal";
  readonly offset: number;
  readonly value: boolean | null;
}
