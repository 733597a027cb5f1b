"""Can the numbers be trusted: how values published before each harvest predicted it, what was promised, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import polars as pl

from genomic_platform.errors import counted
from genomic_platform.results import svg
from genomic_platform.results.season_page import words
from genomic_platform.results.season_page.inputs import SeasonResults
from genomic_platform.results.season_page.words import Head

#: Slopes called "as predicted"; a choice of words, no test.
CALIBRATED = (0.8, 1.25)
MOST_GROUPS = 20
_FIGURE_KEY = {"a": "values as published", "c": "line's own earlier mean", "b": "family's earlier mean"}
_BAND = {"band": "promised, 95 %"}


def evidence(given: SeasonResults) -> str:
    """One figure a trait with what this harvest says in words, then environments and families off their promise."""
    start = "<h2>Can you trust these numbers?</h2>"
    if given.accuracy.is_empty():
        why = ("No harvest could be scored yet: it can only test values that were published before it, so a first "
               "season has none."
               if given.ordered else
               "This programme's seasons have no order, so no harvest comes after the values: only cross-validation "
               "can be had (genomic-platform evaluate).")
        return start + words.paragraph(why) + _promise_absent(given)
    intro = ("Each season's harvest is set against the values that had been published before it. r is their "
             "correlation: 1 would be perfect, 0 no better than chance. A promise is the range in which r should fall, "
             "judged by earlier seasons. The baselines are what field records alone would have predicted.")
    figures = "".join(_trait(given, trait) for trait in given.traits)
    return (start + words.paragraph(intro) + f"<div class=figures>{figures}</div>" + _promise_absent(given)
            + _groups(given))


def _promise_absent(given: SeasonResults) -> str:
    return words.absent("What accuracy could be promised was") if given.accuracy_promise is None else ""


def _trait(given: SeasonResults, trait: str) -> str:
    history = given.accuracy.filter(pl.col("trait") == trait).sort("season")
    promises = given.accuracy_promise
    ranges = {} if promises is None else {
        row["season"]: (row["lower"], row["upper"]) for row in promises.filter(
            pl.col("trait") == trait, pl.col("level") == "season").drop_nulls(["lower", "upper"]).to_dicts()}
    name = given.name(trait)
    said = "".join(words.paragraph(sentence) for sentence in _sentences(given, trait))
    verdict = [] if given.promised is None else given.promised.filter(pl.col("trait") == trait).to_dicts()
    label = "".join(f"<p>{words.badge(row['verdict'], words.PROMISE)} {escape(row['message'])}</p>" for row in verdict)
    if history.is_empty():
        return f"<figure><h3>{escape(name)}</h3><p>Not yet scored on a harvest.</p>{label}</figure>"
    return _figure(name, history, ranges, label + said)


def _figure(name: str, history: pl.DataFrame, ranges: dict[str, tuple[float, float]], caption: str) -> str:
    """r by season: promised range as a bar, values as dots, baselines as smaller dots beside them."""
    seasons = history["season"].to_list()
    place = {season: float(i) for i, season in enumerate(seasons)}
    series = {"a": "r_all", "c": "baseline_own_mean", "b": "baseline_family_mean"}
    shown = [v for column in series.values() for v in history[column].drop_nulls()] + [v for r in ranges.values()
                                                                                       for v in r]
    x = svg.x_scale(-0.6, len(seasons) - 0.4)
    y = svg.y_scale(min(0.0, np.floor(5 * min(shown, default=0.0)) / 5), 1.0)
    marks = "".join(_band(x, y, place[season], *ends) for season, ends in ranges.items() if season in place)
    present = {}
    for shift, (kind, column) in zip((0.0, 0.16, -0.16), series.items(), strict=True):
        own = history.drop_nulls(column)
        at = x(np.array([place[s] for s in own["season"]]) + shift)
        marks += svg.dots(kind, at, y(own[column].to_numpy()), 11 if kind == "a" else 7, 1)
        present |= {kind: _FIGURE_KEY[kind]} if own.height else {}
    zero = float(y(np.array(0.0)))
    marks += f"<line class=rule x1={svg.LEFT} x2={svg.WIDTH - svg.RIGHT} y1={zero:.1f} y2={zero:.1f} />"
    return svg.figure(name, marks, x, y, ("season harvested", "r"), caption,
                      present | (_BAND if set(ranges) & set(place) else {}), _names(seasons))


def _band(x: svg.Scale, y: svg.Scale, at: float, lower: float, upper: float) -> str:
    left, right = x(np.array([at - 0.3, at + 0.3]))
    bottom, top = y(np.array([lower, upper]))
    return f"<rect class=band x={left:.1f} y={top:.1f} width={right - left:.1f} height={max(bottom - top, 1):.1f} />"


def _names(seasons: Sequence[str]) -> dict[float, str]:
    """Names of seasons under the axis: as many as have room, the last always."""
    room = svg.WIDTH - svg.LEFT - svg.RIGHT
    step = max(1, int(np.ceil(len(seasons) * 8.5 * (max(map(len, seasons)) + 1) / room)))
    return {float(i): season for i, season in enumerate(seasons) if (len(seasons) - 1 - i) % step == 0}


def _sentences(given: SeasonResults, trait: str) -> list[str]:
    """This harvest in words: accuracy and baselines, slope, bias, what choosing the best fifth would have found."""
    rows = given.scored.filter(pl.col("trait") == trait).to_dicts()
    if not rows:
        return [f"Not harvested in season {given.season}."]
    row, unit = rows[0], given.traits[trait].unit
    found = [_accuracy(row), _slope(row["slope"]), _bias(row["bias"], unit, given.traits[trait].genetic_sd)]
    if row["top20_hit"] is not None:
        found.append(f"Of the best fifth at harvest, {words.percent(row['top20_hit'])} were in the predicted best "
                     "fifth (20\u00a0% by chance).")
    return [sentence for sentence in [*found, _gain(given, trait, unit)] if sentence]


def _accuracy(row: dict[str, Any]) -> str:
    lines = counted(row["n_scored"], "line")
    if row["r_all"] is None:
        return f"No r can be had from {lines} of this harvest: too few, or values that do not vary."
    parts = ((f"{words.r_of(row['r_known'])} of lines with an earlier record", row["r_known"]),
             (f"{words.r_of(row['r_new'])} of new lines", row["r_new"]),
             (f"{words.r_of(row['r_within_family'])} within families", row["r_within_family"]))
    detail = ", ".join(text for text, value in parts if value is not None)
    beaten = f" {words.baselines(row['loses_to']).capitalize()} did better on the same " \
             "lines." if row["loses_to"] else ""
    return f"r {words.r_of(row['r_all'])} on {lines}{f' ({detail})' if detail else ''}.{beaten}"


def _slope(slope: float | None) -> str:
    if slope is None:
        return ""
    if slope <= 0:
        return f"Slope {words.r_of(slope)}: lines predicted to differ did not differ that way at harvest."
    low, high = CALIBRATED
    size = "about right" if low <= slope <= high else "overstated" if slope < low else "understated"
    return (f"Slope {words.r_of(slope)}: {words.percent(slope)} of a predicted difference came at harvest, so "
            f"differences between lines are {size}.")


def _bias(bias: float | None, unit: str, size: float | None) -> str:
    if bias is None:
        return ""
    said = words.measured(bias, unit, size)
    if said[0] not in "+−":
        return f"Bias {said}: on average the lines grown were predicted to be as the average line."
    return (f"Bias {said}: by so much the lines grown were predicted "
            f"{'above' if bias > 0 else 'below'} the average line; it moves all alike and not the order.")


def _gain(given: SeasonResults, trait: str, unit: str) -> str:
    rows = [] if given.promised is None else given.promised.filter(pl.col("trait") == trait).to_dicts()
    gain = rows[0]["gain_selected"] if rows else None
    if gain is None:
        return ""
    size = given.traits[trait].genetic_sd
    return (f"The predicted best fifth was {words.measured(abs(gain), unit, size).lstrip('+')} "
            f"{'better' if gain >= 0 else 'worse'} at harvest than the mean of all lines.")


def _groups(given: SeasonResults) -> str:
    """Environments and families in which the harvest fell outside the promise; how many fell inside."""
    if given.accuracy_promise is None:
        return ""
    groups = given.accuracy_promise.filter(pl.col("season") == given.season, pl.col("level") != "season",
                                           pl.col("trait").is_in(list(given.traits)))
    if groups.is_empty():
        return ""
    off = groups.filter(pl.col("verdict").is_in(["below", "above"])).sort(
        pl.col("verdict") == "above", "trait", "level", "label")
    counts = groups["verdict"].value_counts().rows()
    said = words.tally(dict(counts), words.PROMISE)
    heads = [Head("environment or family", "id"), Head("trait", "t"), Head("r"), Head("promised"), Head("verdict", "t")]
    rows = [[f"{words.name_of(row['label'])}<small>{escape(row['level'])}, {counted(row['n_lines'], 'line')}</small>",
             words.breakable(given.name(row["trait"])), words.r_of(row["realised"]),
             f"{words.r_of(row['lower'])} to {words.r_of(row['upper'])}", words.badge(row["verdict"], words.PROMISE)]
            for row in off.head(MOST_GROUPS).to_dicts()]
    more = words.paragraph(f"The first {MOST_GROUPS} of {off.height:,}; all are in the table accuracy_promise.",
                           "more") if off.height > MOST_GROUPS else ""
    return ("<h3>By environment and family</h3>" + words.paragraph(f"{counted(groups.height, 'comparison')}: {said}.")
            + (words.table(heads, rows) if rows else "") + more)
