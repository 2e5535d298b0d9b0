/**
 * The script that colours the tokens of the page: plain JavaScript, since it runs in the reader's
 * browser. It reads the element `trace-data` and draws the layer that is selected. Neighbouring
 * experts get hues that are a golden angle apart.
 */
export const clientScript: string = `
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("trace-data").textContent);
  const select = document.getElementById("layer");
  const legend = document.getElementById("legend");
  const tokens = [...document.querySelectorAll(".token")];
  const hue = (expert) => String(Math.round((expert * 137.508) % 360));

  const title = (name, { experts, weights, dropped }) => {
    const parts = experts.map((expert, index) => "expert " + expert + " (" + weights[index] + ")");
    if (dropped > 0) parts.push(dropped + " dropped");
    return name + ": " + (parts.length === 0 ? "no expert" : parts.join(", "));
  };

  const draw = () => {
    const layer = data[select.selectedIndex];
    if (layer === undefined) return;
    tokens.forEach((token, index) => {
      const routed = layer.tokens[index];
      const [top] = routed.experts;
      token.className = top === undefined ? "token none" : "token";
      token.style.setProperty("--hue", top === undefined ? "0" : hue(top));
      token.lastElementChild.textContent = top === undefined ? "–" : String(top);
      token.title = title(token.dataset.name + ", layer " + layer.layer, routed);
    });
    legend.replaceChildren(
      ...layer.shares.map(([expert, share]) => {
        const swatch = document.createElement("li");
        swatch.className = "swatch";
        swatch.style.setProperty("--hue", hue(expert));
        swatch.textContent = "expert " + expert + ": " + share;
        return swatch;
      }),
    );
  };

  select.addEventListener("change", draw);
  draw();
})();
`;
