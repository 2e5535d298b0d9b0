import { describe, expect, it } from "vitest";
import { html, scriptJson, trusted } from "./markup.ts";

describe("html", () => {
  it("escapes what comes from outside, in text and attributes", () => {
    const evil = `"><script>alert('1')</script>&`;
    expect(html`<p title="${evil}">${evil}</p>`.markup).toBe(
      '<p title="&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;">' +
        "&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;</p>",
    );
  });

  it("keeps markup, joins lists and leaves out null", () => {
    const items = ["a<", "b"].map((item) => html`<li>${item}</li>`);
    expect(html`${items}${null}${3}${trusted("<hr>")}`.markup).toBe(
      "<li>a&lt;</li><li>b</li>3<hr>",
    );
  });
});

describe("scriptJson", () => {
  it("cannot end its script element and reads back", () => {
    const value = { text: "</script><!--" };
    const { markup } = scriptJson(value);
    expect(markup).not.toContain("<");
    expect(JSON.parse(markup)).toEqual(value);
  });
});
