"""The text of a page: `string.Template`s that hold structure and no data.

Every `$name` is filled with HTML that is escaped already; only `fedkd.reporting.elements` fills them.
"""

from __future__ import annotations

from string import Template

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta http-equiv="Content-Security-Policy" content="$policy">
<link rel="icon" href="data:,">
<title>$title</title>
<style>$style</style>
</head>
<body>
<header>
<div class="top"><p class="kicker">$kicker</p><button id="theme" type="button">light / dark</button></div>
<h1>$name</h1>
<p class="note">$subtitle</p>
</header>
<main>
$body
</main>
<footer>Accuracies are measured on the global test split. Bytes count payloads, transport headers left out;
1 kB is 1000 bytes. “–” stands for what the method does not have or nobody measured.</footer>
<script>$script</script>
</body>
</html>
""")

SECTION = Template("""<section aria-labelledby="$key">
<h2 id="$key">$heading</h2>
$body
</section>""")

FIGURE = Template("""<figure data-plot="$key">
<h3>$title</h3>
$legend
<div class="plot" tabindex="0" role="group" aria-label="$title: arrow keys read out values">
$svg
<div class="tip" role="status" hidden></div>
</div>
<figcaption>$caption</figcaption>
<details><summary>Values as a table</summary>$table</details>
<script type="application/json">$points</script>
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
