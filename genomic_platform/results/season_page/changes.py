"""The report's last part: what drifted, what was retrained and decided and whether it helped, and a glossary."""

from __future__ import annotations

from html import escape

import polars as pl

from genomic_platform.errors import counted
from genomic_platform.phenotypes.weather_features import FEATURES
from genomic_platform.results.season_page import words
from genomic_platform.results.season_page.inputs import SeasonResults
from genomic_platform.results.season_page.words import Head

MOST_FEATURES, MOST_PARTS = 10, 5
_GLOSSARY = {
    "Value": "What the model expects of a line: a deviation from the average line, in the trait's unit. Genotypic "
             "values are for advancing lines, breeding values for choosing parents.",
    "Reliability": "How much of the true differences between lines a value can show, from 0 % (nothing is known but "
                   "the average) to 100 % (known exactly). It grows with a line's own records and with relatives that "
                   "were tested.",
    "± (standard error)": "The true value lies within ± of the value shown in about two of three cases, within twice "
                          "that in about nineteen of twenty. It is the spread of true values × √(1 − reliability), for "
                          "a line of average inbreeding.",
    "Index": "Each trait's value divided by its genetic standard deviation, times the programme's weight, in the "
             "wanted direction, summed. Its reliability takes traits as independent.",
    "Predictive ability (r)": "Correlation of values published before a season with what the season's trials then "
                              "measured, within trials. Measurements err too: perfect values would not reach 1.",
    "Promise": "The range in which r of the next harvest should fall in 95 of 100 cases, learned from seasons that "
               "were predicted before they came. With too few such seasons nothing is promised.",
    "Baselines": "What would have been predicted without markers: the line's own earlier mean, its family's earlier "
                 "mean. A model that loses to one of them on the same lines is named.",
    "Slope, bias": "Slope: how much of a predicted difference came; 1 is right. Bias: how far all lines were predicted "
                   "from the average of those grown.",
    "Drift": "What is no longer like the data the models learned from. A rising mean value is genetic gain and not "
             "drift.",
}


def drift(given: SeasonResults) -> str:
    """Lines, environments and predictions against those of before, each with its decision in words."""
    return "<h2>What drifted</h2>" + _population(given) + _inputs(given) + _predictions(given)


def _population(given: SeasonResults) -> str:
    said = "".join(f"<p>{words.badge(row['decision'], words.POPULATION)} {escape(_sentence(row['message']))}</p>"
                   for row in given.drift.filter(season=given.season).to_dicts())
    said = said or words.absent("Whether the breeding population changed was")
    return "<h3>The breeding population</h3>" + said + _parts(given)


def _parts(given: SeasonResults) -> str:
    """Chromosomes and components that moved most, where this was looked at."""
    if given.population_shift is None:
        return words.absent("Which chromosomes moved was")
    own = given.population_shift.filter(season=given.season).drop_nulls("shift").sort(
        "p_value", "part", "name", nulls_last=True)
    if own.is_empty():
        return ""
    rows = [[f"{escape(row['part'])} {escape(row['name'])}", f"{row['shift']:.3f}".replace("-", "−"),
             "no test exists" if row["p_value"] is None else _p(row["p_value"])]
            for row in own.head(MOST_PARTS).to_dicts()]
    shown = f"The {len(rows)} of {own.height:,} with the smallest p-value. " if own.height > len(rows) else ""
    return words.table([Head("where", "id"), Head("shift"), Head("p")], rows, "slim") + words.paragraph(
        f"{shown}Shift of a chromosome: F_ST; of a principal component: difference in standard deviations.", "more")


def _inputs(given: SeasonResults) -> str:
    start = "<h3>The environments</h3>"
    if given.input_drift is None:
        return start + words.absent("Whether environments were unlike earlier ones was")
    own = given.input_drift.filter(season=given.season)
    if own.is_empty():
        return start + words.paragraph("The programme gives no environment data, so no test exists.")
    said = words.tally(dict(own["decision"].value_counts().iter_rows()), words.INPUTS)
    # beside one or two earlier environments most lie beyond all earlier ones: where no test exists that says nothing
    odd = own.filter((pl.col("decision") == "shifted") | (
        (pl.col("n_outside") > 0) & (pl.col("decision") != "no_test"))).sort(
        pl.col("decision") != "shifted", -pl.col("n_outside"), "p_adjusted", "feature", nulls_last=True)
    shown = odd.head(MOST_FEATURES).to_dicts()
    alike = own["decision"].n_unique() == 1 and own.height > 1  # then one word says it, without its number
    start += words.paragraph(f"All {own.height:,} features: {said.removesuffix(f' {own.height:,}')}." if alike else
                             f"{counted(own.height, 'feature')}: {said}.")
    if not shown:
        return start + words.paragraph(_sentence(own.row(0, named=True)["message"]), "more")
    heads = [Head("feature", "id"), Head("this season"), Head("earlier"), Head("environments beyond all earlier"),
             Head("decision", "t")]
    notes = {i: escape(_sentence(row["message"])) for i, row in enumerate(shown) if row["decision"] == "shifted"}
    more = f"The first {MOST_FEATURES} of {odd.height:,} that shifted or lie beyond all earlier; all are in the " \
           "table input_drift." if odd.height > MOST_FEATURES else ""
    return start + words.table(heads, [_feature(row) for row in shown], notes=notes) + words.paragraph(more, "more")


def _feature(row: dict) -> list[str]:
    unit = next((feature.unit for name, feature in FEATURES.items()
                 if row["feature"] == name or row["feature"].endswith(f"_{name}")), "")
    means = [_plain(row[column], unit) for column in ("mean_new", "mean_reference")]
    return [words.name_of(row["feature"].replace("_", " ")), *means, f"{row['n_outside']:,} of {row['n_new']:,}",
            words.badge(row["decision"], words.INPUTS)]


def _plain(value: float | None, unit: str) -> str:
    return words.measured(value, unit, abs(value) / 10 if value else None).lstrip("+") if value is not None else "–"


def _predictions(given: SeasonResults) -> str:
    start = "<h3>The predictions</h3>"
    if given.prediction_drift is None:
        return start + words.absent("Whether predictions changed against the season before was")
    own = given.prediction_drift.filter(pl.col("season") == given.season, pl.col("trait").is_in(list(given.traits)))
    rows = [[words.breakable(given.name(row["trait"])), words.badge(row["decision"], words.PREDICTIONS),
             escape(_sentence(row["message"])), words.r_of(row["r_previous"]), words.percent(row["extrapolated"])]
            for row in given.by_trait(own)]
    heads = [Head("trait", "id"), Head("decision", "t"), Head("what was seen", "w"), Head("r with the season before"),
             Head("lines far from training")]
    return start + (words.table(heads, rows) if rows else words.paragraph("No trait has values."))


def retraining(given: SeasonResults) -> str:
    """Per trait what was decided and why; whether models retrained before predicted this harvest better."""
    heads = [Head("trait", "id"), Head("decision", "t"), Head("model in place", "t"), Head("why", "w")]
    rows = [_decision(given, row) for row in given.by_trait(given.decisions)]
    return ("<h2>What was retrained, and did it help</h2><h3>Decisions</h3>" + words.table(heads, rows)
            + "<h3>Did retraining help?</h3>" + _effect(given))


def _decision(given: SeasonResults, row: dict) -> list[str]:
    model = (f"{words.recipe_name(row['recipe'])}, trained through season {row['trained_through']} on "
             f"{counted(row['n_train'], 'line')}")
    waits = f"<br>{escape(words.recipe_name(row['proposed']))} waits for genomic-platform approve" \
        if row["proposed"] else ""
    return [words.breakable(given.name(row["trait"])), words.badge(row["decision"], words.DECISION),
            escape(model) + waits,
            escape(words.MEANS.get(row["decision"], "")) + words.listed(row["reasons"])]


def _effect(given: SeasonResults) -> str:
    if given.retraining_effect is None:
        return words.absent("Whether retraining helped was")
    own = given.retraining_effect.filter(season=given.season)
    if own.is_empty():
        return words.paragraph("Nothing to compare yet: it takes a model, a later one, and a harvest after both.")
    rows = [[words.breakable(given.name(row["trait"])), words.badge(row["helped"], words.HELPED),
             escape(f"{words.recipe_name(row['recipe_before'])} through {row['trained_before']} → "
                    f"{words.recipe_name(row['recipe_after'])} through {row['trained_after']}, for "
                    f"{words.CAUSE.get(row['cause'], row['cause'])}"),
             f"{words.r_of(row['r_before'])} → {words.r_of(row['r_after'])}", _difference(row), f"{row['n_lines']:,}"]
            for row in given.by_trait(own)]
    heads = [Head("trait", "id"), Head("did it help", "t"), Head("not retrained → retrained", "w"),
             Head("r on this harvest"), Head("difference (95\u00a0%)"), Head("lines")]
    return words.paragraph("The model that was not retrained was kept aside and both were scored on this harvest, on "
                           "the same lines.") + words.table(heads, rows)


def _difference(row: dict) -> str:
    if row["difference"] is None:
        return "–"
    ends = "" if row["lower"] is None else f" ({words.signed(row['lower'], 2)} to {words.signed(row['upper'], 2)})"
    return f"{words.signed(row['difference'], 2)}{ends}"


def glossary() -> str:
    """How the numbers are made."""
    return "<h2>How these numbers are made</h2><dl>" + "".join(
        f"<dt>{escape(term)}</dt><dd>{escape(meaning)}</dd>" for term, meaning in _GLOSSARY.items()) + "</dl>"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _sentence(message: str) -> str:
    """A table's message as a sentence of its own."""
    text = message.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
