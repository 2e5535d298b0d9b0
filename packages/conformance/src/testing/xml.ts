/** An element of an XML document. */
export interface XmlElement {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly XmlElement[];
  /** Its own text, without that of its children. */
  readonly text: string;
}

interface OpenElement {
  readonly name: string;
  readonly attributes: Record<string, string>;
  readonly children: XmlElement[];
  text: string;
}

/** Reads the part of XML that reports use, strictly. @throws Error where it is not well-formed */
export function parseXml(xml: string): XmlElement {
  const open: OpenElement[] = [{ name: "", attributes: {}, children: [], text: "" }];
  const token = /<\?xml [^?]*\?>|<\/([\w]+)>|<([\w]+)((?: [\w]+="[^"<]*")*)(\/?)>|([^<]+)/gy;
  while (token.lastIndex < xml.length) {
    const at = token.lastIndex;
    const match = token.exec(xml);
    if (match === null) throw new Error(`not well-formed at ${at}: ${xml.slice(at, at + 60)}`);
    const [, closing, opening, attributes = "", single, text] = match;
    const current = open.at(-1);
    if (current === undefined) throw new Error("text after the end");
    if (text !== undefined) current.text += unescape(text);
    if (opening !== undefined) {
      const element = {
        name: opening,
        attributes: readAttributes(attributes),
        children: [],
        text: "",
      };
      current.children.push(element);
      if (single === "") open.push(element);
    }
    if (closing !== undefined && open.pop()?.name !== closing)
      throw new Error(`wrong </${closing}>`);
  }
  const [document] = open;
  const [root, ...more] = document?.children ?? [];
  if (open.length !== 1 || root === undefined || more.length > 0) throw new Error("not one root");
  return root;
}

function readAttributes(text: string): Record<string, string> {
  const found = [...text.matchAll(/(\w+)="([^"]*)"/g)];
  return Object.fromEntries(found.map(([, name = "", value = ""]) => [name, unescape(value)]));
}

function unescape(text: string): string {
  // oxlint-disable-next-line no-control-regex -- these are what XML 1.0 cannot hold
  if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/.test(text)) throw new Error("a control character");
  if (/&(?!(?:amp|lt|gt|quot|#\d+);)/.test(text)) throw new Error(`a bare & in ${text}`);
  return text.replace(/&(amp|lt|gt|quot|#\d+);/g, (_, name: string) => {
    const names: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"' };
    return names[name] ?? String.fromCodePoint(Number(name.slice(1)));
  });
}
