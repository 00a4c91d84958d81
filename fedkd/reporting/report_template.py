"""The report of one run, as a Jinja2 template; `fedkd.reporting.html` gives it its values."""

from __future__ import annotations

REPORT = """{% extends "page.html" %}
{% from "elements.html" import code, columns, facts, figures, folded, section, table, tile %}

{% block kicker %}fedkd run report{% endblock %}
{% block title %}{{ reported.name }}{% endblock %}
{% block subtitle -%}
Method {{ run.method }}, seed {{ run.seed }}, {{ run.history|length }} of {{ run.rounds }} rounds recorded
{%- endblock %}

{% block body %}
{% if reported.unfinished %}<p class="warn">{{ reported.unfinished }}</p>{% endif %}
<dl class="tiles">
{{ tile("Student", run.student.accuracy|percent, gain) }}
{{ tile("Ensemble teacher", run.ensemble_teacher.accuracy|percent, "agreement " ~ agreement|percent) }}
{{ tile("Clients, mean", run.clients.mean_accuracy|percent, "worst " ~ run.clients.worst_accuracy|percent) }}
{{ tile("Payload", (run.bytes.up + run.bytes.down)|size, run.bytes.up|size ~ " up, " ~ run.bytes.down|size ~ " down") }}
{{ tile("Wall time", run.seconds.total|duration, run.history|length ~ " rounds") }}
</dl>

{% call section("result", "Result") %}
<div class="columns">
<div>{{ table("Accuracy between its two baselines", result, lead=0) }}{{ facts(costs) }}</div>
{{ figures(plots, {
  "accuracy": "Test accuracy after each round. Local-only: clients that never talk. Centralised: one model on all the "
    ~ "data. Both train for the same total of local epochs. "
    ~ "Balanced: the mean over classes of the share of each that is right.",
}) }}
</div>
{% endcall %}

{% set alike = {
  "agreement": "How often student and ensemble teacher choose the same class.",
  "confusion-both": "Test samples by the teacher's choice and the student's: off the diagonal they disagree.",
  "confusion-student": "Test samples by true class and the student's choice, after the last round.",
  "confusion-teacher": "Test samples by true class and the ensemble teacher's choice, after the last round.",
} %}
{% if alike|select("in", plots)|list %}
{% call section("agreement", "Student and teacher") %}
{% if agreement is not none %}
<p class="note">On the test split they last agreed on {{ agreement|percent }} of the samples.</p>
{% endif %}
{{ columns(plots, alike) }}
{% endcall %}
{% endif %}

{% if temperature %}
{% call section("temperature", "The temperature of the distillation") %}
{% for line in temperature.lines %}
<p class="note">{% if loop.first %}Round {{ temperature.server_round }}, {% endif %}{{ line }}.</p>
{% endfor %}
{{ table(temperature.caption, temperature.trials, lead=temperature.chosen) }}
{{ columns(plots, {
  "temperature": "Students distilled at each temperature, on public samples that none of them has learnt from.",
}) }}
{% if temperature.earlier.rows %}
{% call folded("Choices of earlier rounds") %}{{ table("", temperature.earlier) }}{% endcall %}
{% endif %}
{% endcall %}
{% endif %}

{% if reported.partition is not none %}
{% call section("partition", "Who holds what") %}
{{ figures(plots, {"partition": reported.partition.description}) }}
{% if reported.partition.skew %}{{ facts(skew) }}{% endif %}
{% endcall %}
{% endif %}

{% call section("cost", "What it cost") %}
{{ columns(plots, {
  "bytes": "Test accuracy against the payload sent so far, up and down together.",
  "seconds": "Seconds of each round by phase. " ~ summed,
}) }}
{% endcall %}

{% if secure %}
{% call section("secure", "Secure aggregation") %}
<p class="note">The server saw {{ secure.num_sums }} sums over clients and no client's answers. \
A mean of them is known to within {{ secure.resolution|number }}.
{%- if secure.clipped is not none %} Clipped were {{ secure.clipped|percent }} of all logits.{% endif %}
 Clients missing at the last stage are in the sum.</p>
{{ table("All rounds together, by stage", secure.stages) }}
{% if secure.failures.rows %}{{ table("Rounds without a sum", secure.failures) }}{% endif %}
{% if secure.adjacent.rows %}
<p class="warn">Cohorts that differ from the one before by one client: the two sums together may reveal its answers.</p>
{{ table("Such cohorts", secure.adjacent) }}
{% endif %}
{% endcall %}
{% endif %}

{% call section("rounds", "Rounds") %}
{% if rounds.rows|length > most_open_rounds %}
{% call folded("All " ~ rounds.rows|length ~ " rounds") %}{{ table("One row a round", rounds) }}{% endcall %}
{% else %}
{{ table("One row a round", rounds) }}
{% endif %}
<p class="note">Agreement: how often student and teacher choose the same class on the test split.</p>
{% endcall %}

{% call section("lost", "Lost replies") %}
{% if lost %}
<p class="warn">Over all rounds: {{ lost|join(", ") }}</p>
{% if refusals.rows %}{{ table("Refused replies", refusals) }}{% endif %}
{% if more_refusals > 0 %}<p class="note">{{ more_refusals }} more refusals are in rounds.jsonl.</p>{% endif %}
{% else %}
<p class="note">Every reply arrived in time and was used.</p>
{% endif %}
{% endcall %}

{% call section("rerun", "Run it again") %}
<p class="note">The resolved configuration, its seed included, lies in the run folder.</p>
{{ code(reported.rerun) }}
<h3>What differs from the defaults</h3>
{% if settings.rows %}
{{ table("Keys that are not at their defaults", settings) }}
{% else %}
<p class="note">Nothing.</p>
{% endif %}
{% call folded("The whole config.toml") %}{{ code(config_toml) }}{% endcall %}
{% endcall %}

{% call section("environment", "Environment") %}
{{ table("What it ran on", environment) }}
{% endcall %}
{% endblock %}
"""
