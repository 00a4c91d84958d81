"""The frame of a page and the elements on it, as Jinja2 templates.

They are text in a module because a bundle of a Flower app (`pyproject.toml`, `fab-include`) carries no template files,
and the server app in it writes reports.
"""

from __future__ import annotations

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<link rel="icon" href="data:,">
<title>{{ self.title() }} – fedkd</title>
<style>{{ style }}</style>
</head>
<body>
<header>
<div class="top"><p class="kicker">{% block kicker required %}{% endblock %}</p>\
<button id="theme" type="button">light / dark</button></div>
<h1>{% block title required %}{% endblock %}</h1>
<p class="note">{% block subtitle required %}{% endblock %}</p>
</header>
<main>
{% block body required %}{% endblock %}
</main>
<footer>Accuracies are measured on the global test split. Bytes count payloads, transport headers left out;
1 kB is 1000 bytes. “–” stands for what the method does not have or nobody measured.</footer>
<script>{{ script }}</script>
</body>
</html>
"""
"""`page.html`: a template that extends it fills the blocks `kicker`, `title`, `subtitle` and `body`."""

ELEMENTS = """
{% set css = {"n": "number", "t": "text"} %}

{% macro section(key, heading) %}
<section aria-labelledby="{{ key }}">
<h2 id="{{ key }}">{{ heading }}</h2>
{{ caller() }}
</section>
{% endmacro %}

{% macro table(caption, content, lead=none) %}
{# `lead` is the index of the row to stress. #}
<div class="scroll" tabindex="0" role="group" aria-label="{{ caption }} (scrolls sideways)">
<table class="{{ "wide" if content.head|length > 3 else "narrow" }}">
<caption>{{ caption }}</caption>
<thead><tr>
{%- for cell in content.head %}
<th scope="col" class="{{ css[content.kinds[loop.index0]] }}">{{ cell }}</th>
{%- endfor %}</tr></thead>
<tbody>
{% for row in content.rows %}
<tr{% if loop.index0 == lead %} class="lead"{% endif %}>
{%- for cell in row %}
{% set kind = css[content.kinds[loop.index0]] %}
{% if loop.first %}
<th scope="row" class="{{ kind }}">{{ cell }}</th>
{%- else %}
<td class="{{ kind }}">{{ cell }}</td>
{%- endif %}
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
</div>
{% endmacro %}

{% macro facts(rows) %}
<dl class="facts">
{% for name, value in rows %}
<div><dt>{{ name }}</dt><dd>{{ value }}</dd></div>
{% endfor %}
</dl>
{% endmacro %}

{% macro tile(label, value, aside) %}
<div class="tile"><dt>{{ label }}</dt>
<dd class="value">{{ value }}</dd><dd class="aside">{{ aside }}</dd></div>
{% endmacro %}

{% macro code(content) %}
<pre tabindex="0"><code>{{ content }}</code></pre>
{% endmacro %}

{% macro folded(summary) %}
<details><summary>{{ summary }}</summary>{{ caller() }}</details>
{% endmacro %}

{% macro swatch(stroke) %}
<svg viewBox="0 0 34 12" aria-hidden="true">
{%- if stroke.width %}
<path d="M0 6H34" stroke="{{ stroke.colour|themed }}" stroke-width="{{ stroke.width }}"
{%- if stroke.dashes %} stroke-dasharray="{{ stroke.dashes|join(" ") }}"{% endif %}/>
{%- endif %}
{%- if stroke.marker %}<path d="{{ marks[stroke.marker] }}" fill="{{ stroke.colour|themed }}"/>{% endif -%}
</svg>
{%- endmacro %}

{% macro figure(plot, caption) %}
<figure data-plot="{{ plot.key }}">
<h3>{{ plot.title }}</h3>
{% for series in plot.series if series.label %}
{% if loop.first %}<ul class="legend">{% endif %}
<li><button type="button" aria-pressed="true" data-series="{{ series.key }}">
{{- swatch(series.stroke) }}{{ series.label }}</button></li>
{%- if loop.last %}</ul>{% endif %}

{% endfor %}
<div class="plot" tabindex="0" role="group" aria-label="{{ plot.title }}: arrow keys read out values">
{{ plot.inline|drawing }}
<div class="tip" role="status" hidden></div>
</div>
<figcaption>{{ caption }}</figcaption>
<details><summary>Values as a table</summary>{{ table(plot.title, plot.table) }}</details>
<script type="application/json">{{ plot|points_under_pointer|tojson }}</script>
</figure>
{% endmacro %}

{% macro figures(plots, captions) %}
{# The plots that were drawn, in the order of their captions. #}
{% for name, caption in captions.items() if name in plots %}
{{ figure(plots[name], caption) }}
{% endfor %}
{% endmacro %}

{% macro columns(plots, captions) %}
{# The same side by side, if the page is wide enough. #}
{% if captions|select("in", plots)|list %}
<div class="columns">{{ figures(plots, captions) }}</div>
{% endif %}
{% endmacro %}
"""
"""`elements.html`: macros. A table is a `TextTable`, a plot a `Plot`, and rows of facts are names and values."""
