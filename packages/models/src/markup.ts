/** HTML that is safe to put into HTML: everything foreign in it is escaped. */
export interface Markup {
  readonly markup: string;
}

/** What may stand in a template: text and numbers are escaped, markup is put in as it is. */
export type Piece = string | number | Markup | readonly Piece[] | null;

/** Makes markup from a template whose values are escaped, unless they are markup themselves. */
export function html(parts: TemplateStringsArray, ...values: readonly Piece[]): Markup {
  return {
    markup: parts.reduce((text, part, index) => text + written(values[index - 1] ?? null) + part),
  };
}

/** Takes text for markup; only for text that a package brings along. */
export function trusted(markup: string): Markup {
  return { markup };
}

/** JSON that can stand inside a script element: no text in it can end the element. */
export function scriptJson(value: unknown): Markup {
  return trusted(JSON.stringify(value).replaceAll("<", String.raw`\u003c`));
}

function written(piece: Piece): string {
  if (piece === null) return "";
  if (typeof piece === "number") return String(piece);
  if (typeof piece === "string") return escape(piece);
  return "markup" in piece ? piece.markup : piece.map(written).join("");
}

function escape(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("'", "&#39;");
}
