"""The text of the HTML report: `string.Template`s that hold structure and style, and no data.

Every `$name` is filled with HTML that is escaped already; only `fedkd.reporting.html` fills them.
"""

from __future__ import annotations

from string import Template

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f3f5f8; --paper: #fefefe; --ink: #1c2733; --muted: #5b6875; --grid: #dfe4ea; --accent: #1f5fc4;
  --warn: #9a4d00; --warn-paper: #fff4e3;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #0e1318; --paper: #171e26; --ink: #e4eaf0; --muted: #9aa7b4; --grid: #2c3742; --accent: #7db3ff;
    --warn: #ffbf69; --warn-paper: #2b2111;
  }
}
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
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 0 1.25rem; }
.columns > * { min-width: 0; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: .7rem 1.25rem; }
.facts { margin: 1.1rem 0 0; padding-top: .9rem; border-top: 1px solid var(--grid); }
.facts dt { color: var(--muted); font-size: .82rem; }
.facts dd { margin: 0; font-weight: 600; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
.scroll:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
table.wide { width: 100%; }
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
tbody tr:last-child > * { border-bottom: 0; }
tr.lead > * { font-weight: 700; }
figure { margin: 0; }
figcaption { color: var(--muted); font-size: .88rem; max-width: 46rem; }
figure svg { display: block; width: 100%; height: auto; min-width: 29rem; max-width: 46rem; margin: 0 auto .5rem; }
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
  :root { --page: #fff; }
  body { font-size: 10.5pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  table { font-size: 8.5pt; }
  th, td { padding: .25rem .4rem; }
  section, .tile { border-color: #ccc; }
  section { break-inside: auto; }
  figure, tr, .tile, h2 { break-inside: avoid; }
  h2 { break-after: avoid; }
  .scroll { overflow: visible; }
  figure svg { min-width: 0; max-width: 16cm; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; }
}
"""

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>$title</title>
<style>$style</style>
</head>
<body>
<header>
<p class="kicker">fedkd run report</p>
<h1>$name</h1>
<p class="note">$subtitle</p>
</header>
<main>
$tiles
$sections
</main>
<footer>Accuracies are measured on the global test split. Bytes count payloads, transport headers left out;
1 kB is 1000 bytes. “–” stands for what the method does not have or nobody measured.</footer>
</body>
</html>
""")

SECTION = Template("""<section aria-labelledby="$key">
<h2 id="$key">$heading</h2>
$body
</section>""")

FIGURE = Template("""<figure>
<div class="scroll" tabindex="0" role="group" aria-label="$title (scrolls sideways)">
$svg
</div>
<figcaption>$caption</figcaption>
</figure>""")

TABLE = Template("""<div class="scroll" tabindex="0" role="group" aria-label="$caption (scrolls sideways)">
<table class="$css">
<caption>$caption</caption>
<thead><tr>$head</tr></thead>
<tbody>
$rows
</tbody>
</table>
</div>""")

TILE = Template("""<div class="tile"><dt>$label</dt>
<dd class="value">$value</dd><dd class="aside">$aside</dd></div>""")
