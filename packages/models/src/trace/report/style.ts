/** The page's style, light and dark. */
export const pageStyle: string = `
:root {
  color-scheme: light dark;
  --page: #fbfaf8; --card: #ffffff; --ink: #1d1f23; --quiet: #666b75; --line: #e4e2dd;
  --heat: #1f5fbf; --saturation: 75%; --lightness: 84%;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #15171b; --card: #1d2025; --ink: #e8e6e1; --quiet: #9ba1ac; --line: #33373e;
    --heat: #6aa5ff; --saturation: 45%; --lightness: 30%;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 0.75rem; }
h2 { font-size: 1.3rem; margin: 0 0 0.5rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 0.4rem; }
p { margin: 0 0 0.8rem; }
.quiet, caption { color: var(--quiet); font-size: 0.875rem; }
section {
  background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 1.4rem 1.5rem; margin: 0 0 1.25rem;
}
select { font: inherit; }
.tokens { font: inherit; line-height: 2.1; margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.token, .swatch {
  background: hsl(var(--hue) var(--saturation) var(--lightness)); border-radius: 4px;
}
.token { padding: 0.15rem 0.1rem; margin-right: 1px; }
.token.none { background: none; outline: 1px dashed var(--line); }
.token sub { color: var(--quiet); font-size: 0.65rem; margin-left: 1px; }
.token .mark { color: var(--quiet); }
.legend { display: flex; flex-wrap: wrap; gap: 0.3rem; list-style: none; margin: 0.6rem 0; padding: 0; }
.swatch { padding: 0 0.45rem; font-size: 0.8rem; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; margin-bottom: 0.9rem; }
svg text { fill: var(--quiet); font-size: 10px; font-variant-numeric: tabular-nums; }
svg text.figure { fill: var(--ink); }
svg text.strong { fill: var(--card); }
svg .cell { fill: var(--heat); }
svg .frame { fill: none; stroke: var(--line); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.9rem; }
caption { text-align: left; padding-bottom: 0.4rem; }
th, td { padding: 0.3rem 0.7rem; text-align: right; white-space: nowrap; }
th:first-child { text-align: left; padding-left: 0; }
thead th { color: var(--quiet); font-weight: 500; border-bottom: 1px solid var(--line); }
tbody th { font-weight: 400; }
tbody tr + tr > * { border-top: 1px solid var(--line); }
@media print { section { break-inside: avoid; } }
`;
