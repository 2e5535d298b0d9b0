/** The page's style, light and dark. */
export const pageStyle: string = `
:root {
  color-scheme: light dark;
  --page: #fbfaf8; --card: #ffffff; --ink: #1d1f23; --quiet: #666b75; --line: #e4e2dd;
  --sparse: #1f5fbf; --sparse-soft: #9dbce8; --dense: #c4570c; --dense-soft: #edb98f;
  --hash: #1a7f6b; --hash-soft: #93cdbf;
  --good: #1a7f4b; --bad: #b3261e; --heat: #1f5fbf;
  --layer-0: #1f5fbf; --layer-1: #c4570c; --layer-2: #1a7f4b;
  --layer-3: #8a3ffc; --layer-4: #b8860b; --layer-5: #b3266e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #15171b; --card: #1d2025; --ink: #e8e6e1; --quiet: #9ba1ac; --line: #33373e;
    --sparse: #7fb0ff; --sparse-soft: #3d5f94; --dense: #ff9d5c; --dense-soft: #8f5a35;
    --hash: #5fd0b5; --hash-soft: #2f6f60;
    --good: #63cf95; --bad: #ff8a80; --heat: #6aa5ff;
    --layer-0: #7fb0ff; --layer-1: #ff9d5c; --layer-2: #63cf95;
    --layer-3: #c4a1ff; --layer-4: #e6c35c; --layer-5: #ff8fc0;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
header { margin-bottom: 2rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 0.75rem; letter-spacing: -0.01em; }
h2 { font-size: 1.3rem; margin: 0 0 0.5rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 0.4rem; }
p { margin: 0 0 0.8rem; max-width: 46rem; }
.verdict { font-size: 1.15rem; }
.quiet, caption, figcaption { color: var(--quiet); font-size: 0.875rem; }
section {
  background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 1.4rem 1.5rem; margin: 0 0 1.25rem;
}
.wide { overflow-x: auto; margin-bottom: 0.9rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: 1rem; }
.figures div { border-left: 3px solid var(--line); padding-left: 0.75rem; }
.figures .sparse { border-color: var(--sparse); }
.figures .dense { border-color: var(--dense); }
.figures .hash { border-color: var(--hash); }
.figures b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.9rem; }
caption { text-align: left; padding-bottom: 0.4rem; }
th, td { padding: 0.3rem 0.7rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
thead th { color: var(--quiet); font-weight: 500; border-bottom: 1px solid var(--line); }
tbody th { font-weight: 400; }
tbody tr + tr > * { border-top: 1px solid var(--line); }
tr.overall > * { font-weight: 650; }
.good { color: var(--good); }
.bad { color: var(--bad); }
.unresolved { color: var(--quiet); }
td.word { text-align: left; }
.interval { display: block; }
.heat { width: 100%; border-spacing: 2px; border-collapse: separate; }
.heat th, .heat td { border: 0 !important; padding: 0.2rem 0.3rem; }
.heat th:first-child { padding-right: 0.8rem; }
.heat td {
  min-width: 2.6rem; text-align: center; border-radius: 4px; font-size: 0.8rem;
  background: color-mix(in srgb, var(--heat) var(--part), transparent);
}
.heat td.strong { color: var(--card); }
.heat thead th { text-align: center; border: 0; }
.history text { fill: var(--quiet); font-size: 11px; }
.history .cell { fill: var(--heat); }
.history .frame { fill: none; stroke: var(--line); }
figure { margin: 0 0 1rem; }
.chart { min-height: 240px; }
.settings { display: grid; grid-template-columns: max-content 1fr; gap: 0.2rem 1.2rem; margin: 0; }
.settings dt { color: var(--quiet); }
.settings dd { margin: 0; overflow-wrap: anywhere; }
.u-legend { font-size: 0.85rem !important; }
.u-legend .u-value { font-variant-numeric: tabular-nums; display: inline-block; min-width: 3.2em; }
.u-select { background: color-mix(in srgb, var(--ink) 12%, transparent) !important; }
@media print { section { break-inside: avoid; } }
`;
