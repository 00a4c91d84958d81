"""The style of a page: light and dark, from a telephone to paper."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --page: light-dark(#f3f5f8, #0e1318); --paper: light-dark(#fefefe, #171e26); --ink: light-dark(#1c2733, #e4eaf0);
  --muted: light-dark(#5b6875, #9aa7b4); --grid: light-dark(#dfe4ea, #2c3742); --accent: light-dark(#1f5fc4, #7db3ff);
  --warn: light-dark(#9a4d00, #ffbf69); --warn-paper: light-dark(#fff4e3, #2b2111);
}
:root[data-theme="light"] { color-scheme: light; }
:root[data-theme="dark"] { color-scheme: dark; }
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main, header, footer { max-width: 68rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2.25rem; }
h1 { margin: 0; font-size: 1.7rem; line-height: 1.2; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { margin: 0 0 .75rem; font-size: 1.15rem; line-height: 1.3; }
h3 { margin: 1.25rem 0 .5rem; font-size: 1rem; }
p { margin: .5rem 0; max-width: 46rem; }
.kicker { margin: 0 0 .25rem; color: var(--muted); font-size: .85rem; overflow-wrap: anywhere; }
.note { color: var(--muted); font-size: .9rem; overflow-wrap: anywhere; }
section {
  margin: 1.25rem 0; padding: 1.25rem 1.4rem 1.4rem; background: var(--paper);
  border: 1px solid var(--grid); border-radius: 10px;
}
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11.5rem, 1fr)); gap: .8rem; margin: 1.4rem 0; }
.tile { padding: .85rem 1rem; background: var(--paper); border: 1px solid var(--grid); border-radius: 10px; }
.tile dt { color: var(--muted); font-size: .82rem; }
.tile dd { margin: 0; }
.tile .value { font-size: 1.55rem; font-weight: 650; line-height: 1.3; font-variant-numeric: tabular-nums; }
.tile .aside { min-height: 1.3em; color: var(--muted); font-size: .82rem; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1.75rem 1.5rem; }
.columns > * { min-width: 0; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: .7rem 1.25rem; }
.facts { margin: 1.1rem 0 0; padding-top: .9rem; border-top: 1px solid var(--grid); }
.facts dt { color: var(--muted); font-size: .82rem; }
.facts dd { margin: 0; font-weight: 600; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
table.wide { width: 100%; }
table.wide :is(th, td) { padding-left: .45rem; padding-right: .45rem; }
table.wide :is(th, td):first-child { padding-left: 0; }
table.narrow { width: 100%; max-width: 36rem; }
caption { padding-bottom: .4rem; color: var(--muted); font-size: .85rem; text-align: left; }
th, td { padding: .38rem .6rem; border-bottom: 1px solid var(--grid); text-align: left; vertical-align: top; }
th:first-child, td:first-child { padding-left: 0; }
th:last-child, td:last-child { padding-right: .2rem; }
thead th { color: var(--muted); font-weight: 600; font-size: .82rem; line-height: 1.3; vertical-align: bottom; }
thead th.number { white-space: normal; }
tbody th { font-weight: 500; }
.number { text-align: right; white-space: nowrap; }
.text { overflow-wrap: anywhere; min-width: 6.5rem; }
.wide tbody th.text { overflow-wrap: break-word; min-width: 9rem; }
tbody tr:last-child > * { border-bottom: 0; }
tr.lead > * { font-weight: 700; }
figure { margin: 0; }
figure h3 { margin-top: 0; }
figcaption { color: var(--muted); font-size: .88rem; max-width: 46rem; }
.plot { position: relative; max-width: 32rem; margin: 0 auto .5rem; touch-action: pan-y; }
.plot > svg { display: block; width: 100%; height: auto; }
.plot [id$="-legend"] { display: none; }
:is(.plot, .scroll, button, summary):focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.cursor { stroke: var(--muted); stroke-width: 1; }
.tip {
  position: absolute; z-index: 1; max-width: min(17rem, 90%); padding: .35rem .6rem; border: 1px solid var(--muted);
  border-radius: 6px; background: var(--paper); font-size: .82rem; line-height: 1.4; pointer-events: none;
  overflow-wrap: anywhere; font-variant-numeric: tabular-nums;
}
.legend { display: flex; flex-wrap: wrap; gap: .25rem .4rem; margin: 0 0 .6rem; padding: 0; list-style: none; }
.legend button, #theme {
  display: flex; align-items: center; gap: .45rem; min-height: 1.75rem; padding: .1rem .55rem; border-radius: 6px;
  border: 1px solid var(--grid); background: none; color: var(--ink); font: inherit; font-size: .85rem;
  text-align: left;
  overflow-wrap: anywhere; cursor: pointer;
}
.legend button[aria-pressed="false"] { color: var(--muted); text-decoration: line-through; border-style: dashed; }
.legend button[aria-pressed="false"] svg { visibility: hidden; }
.legend svg { flex: none; width: 34px; height: 12px; }
html:not(.js) .legend button { pointer-events: none; border-color: transparent; }
html:not(.js) #theme { display: none; }
.top { display: flex; justify-content: space-between; align-items: flex-start; gap: 1rem; }
details { margin-top: .6rem; }
summary { color: var(--muted); font-size: .88rem; cursor: pointer; }
figure details .scroll { max-height: 22rem; overflow: auto; }
pre {
  margin: 0; padding: .9rem 1rem; overflow-x: auto; border: 1px solid var(--grid); border-radius: 8px;
  background: var(--page); font: .84rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
}
.warn { padding: .6rem .9rem; border-radius: 8px; background: var(--warn-paper); color: var(--warn); }
footer { padding-bottom: 2.5rem; color: var(--muted); font-size: .85rem; }
@media (max-width: 40rem) {
  main, header, footer { padding-left: .8rem; padding-right: .8rem; }
  section { padding: 1rem .9rem; }
  h1 { font-size: 1.35rem; }
  .tiles { grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .6rem; }
  .tile { padding: .65rem .75rem; }
  .tile .value { font-size: 1.25rem; }
}
@media print {
  :root, :root[data-theme] { color-scheme: light; --page: #fff; }
  body { font-size: 10.5pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  table { font-size: 8.5pt; }
  th, td { padding: .25rem .4rem; }
  section, .tile { border-color: #ccc; }
  section { break-inside: auto; }
  figure, tr, .tile, h2 { break-inside: avoid; }
  h2 { break-after: avoid; }
  .scroll { overflow: visible; }
  .columns { grid-template-columns: 1fr 1fr; }
  .plot { max-width: 10cm; }
  #theme, .tip, .cursor, figure details { display: none; }
  .legend button { border: 0; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; }
}
"""
