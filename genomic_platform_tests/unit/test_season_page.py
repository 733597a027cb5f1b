"""The season's report: what it says of any tables, safe with any name, self-contained, drawn within a phone's width."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomic_platform.results.season_page import SeasonPage, SeasonResults, TraitFacts, season_page, words
from genomic_platform.schemas import monitoring, predictions
from genomic_platform.schemas.contract import TableContract
from genomic_platform.schemas.phenotypes import LINE_RECORDS

VOID = {"meta", "br", "path", "line", "rect"}
OURS = VOID | {
    "html", "head", "title", "style", "body", "header", "main", "section", "footer", "h1", "h2", "h3", "p", "span",
    "small", "div", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "dl", "dt", "dd", "code", "figure",
    "figcaption", "svg", "text", "i"}
HEADINGS = ["What to do with this list", "The ranking", "Can you trust these numbers?", "Lines to trust less, and why",
            "What drifted", "What was retrained, and did it help", "How these numbers are made"]
OPTIONAL = ("input_drift", "population_shift", "line_trust", "prediction_drift", "accuracy_promise",
            "retraining_effect")
SEASONS = ("2011", "2012", "2013")


class Read(HTMLParser):
    """The page as a reader meets it: words, elements, attributes; refuses what is not nested."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.said, self.rows = "", []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.said += data if {"span", "code"} & set(self.open[-1:]) else data + " "
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    @property
    def words(self) -> str:
        return " ".join(self.said.split())

    def headings(self, level: str) -> int:
        return sum(tag == level for tag, _ in self.tags)


def table(contract: TableContract, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows as a table of the contract; a column that no row names is empty, 0 or a word."""
    usual: dict[Any, Any] = {pl.Int64: 0, pl.Float64: 0.5, pl.String: "x", pl.Boolean: True}
    full = [{c.name: None if c.nullable else usual.get(c.dtype, []) for c in contract.columns} | row for row in rows]
    return contract.conform(pl.DataFrame(full, schema=contract.schema))


def results(n_lines: int = 40, traits: dict[str, TraitFacts] | None = None, season: str = "2013",
            line: str = "L{}", family: str | None = "fam") -> SeasonResults:
    """A whole season: every table there, every line related, nothing odd."""
    traits = traits or {"grain_yield_kg_ha": TraitFacts("kg/ha", "maximise", 1.0, 400.0, 7000.0),
                        "plant_height_cm": TraitFacts("cm", "minimise", 0.5, 2.0, 90.0)}
    lines = [line.format(i) for i in range(n_lines)]
    step = np.linspace(2, -2, n_lines)
    seasons = [s for s in SEASONS if s <= season]
    values = pl.concat([pl.DataFrame({
        "line_id": lines, "trait": t, "environment": pl.Series([None] * n_lines, dtype=pl.String),
        "breeding_value": step, "breeding_value_reliability": 0.75, "genotypic_value": step * (f.genetic_sd or 1),
        "genotypic_value_reliability": 0.75, "phenotyped": True}) for t, f in traits.items()])
    per_trait = [{"season": season, "trait": t} for t in traits]
    past = [{"season": s, "trait": t} for s in seasons[1:] for t in traits]
    scores = {"recipe": "genomic_blup", "trained_through": "2012", "r_all": 0.5, "r_known": 0.6, "r_new": 0.4,
              "slope": 0.62, "bias": 10.0, "top20_hit": 0.4, "n_scored": 30, "baseline_own_mean": 0.45}
    promise = {"level": "season", "label": "", "verdict": "within", "n_lines": 30, "realised": 0.5, "lower": 0.2,
               "upper": 0.7, "gain_selected": 1.5, "message": "r 0.50 lies within 0.20 to 0.70"}
    return SeasonResults(
        program="wheat", season=season, crop="bread wheat", traits=traits, fingerprint="f" * 64,
        versions={"selection_index": "a" * 64, "realised_accuracy@2012": "b" * 64, "season": season},
        values=predictions.VALUES.conform(values),
        index=table(predictions.SELECTION_INDEX, [
            {"rank": i + 1, "line_id": name, "index": float(step[i]), "index_reliability": 0.75, "role": "candidate",
             "family": family} for i, name in enumerate(lines)]),
        line_records=table(LINE_RECORDS, [{"line_id": name, "role": "candidate", "family": family} for name in lines]),
        decisions=table(predictions.REGISTERED_MODEL, [
            {**row, "decision": "refresh", "recipe": "genomic_blup", "trained_through": season, "n_train": 400,
             "reasons": ["all values finite", "kernel against genomic_blup: -0.01 in r"]} for row in per_trait]),
        accuracy=table(predictions.REALISED_ACCURACY, [{**row, **scores} for row in past]),
        drift=table(predictions.DRIFT_REPORT, [{"season": season, "decision": "same_base", "message": "no shift"}]),
        input_drift=table(monitoring.INPUT_DRIFT, [
            {"season": season, "feature": "flowering_temperature_max_c", "decision": "shifted", "n_new": 2,
             "mean_new": 31.5, "mean_reference": 28.25, "n_outside": 1, "message": "hotter than ever"}]),
        population_shift=table(monitoring.POPULATION_SHIFT, [
            {"season": season, "part": "chromosome", "name": "3B", "shift": 0.031, "p_value": 0.02}]),
        line_trust=table(monitoring.LINE_TRUST, [
            {"line_id": name, "trust": "less" if i == 1 else "usual", "reliability": 0.3, "closest_relative": "L9",
             "closest_relationship": 0.1, "why": "no record, no relative" if i == 1 else None}
            for i, name in enumerate(lines)]),
        prediction_drift=table(monitoring.PREDICTION_DRIFT, [
            {**row, "decision": "usual", "r_previous": 0.93, "extrapolated": 0.1, "message": "much as before"}
            for row in per_trait]),
        accuracy_promise=table(monitoring.ACCURACY_PROMISE, [{**row, **promise} for row in past]),
        retraining_effect=table(monitoring.RETRAINING_EFFECT, [
            {**row, "cause": "season", "recipe_before": "genomic_blup", "trained_before": "2011",
             "recipe_after": "kernel", "trained_after": "2012", "r_before": 0.45, "r_after": 0.5, "difference": 0.05,
             "lower": -0.01, "upper": 0.11, "helped": "cannot tell"} for row in per_trait]))


@cache
def whole() -> SeasonResults:
    return results()


def changed(data: SeasonResults, name: str, /, **columns: Any) -> SeasonResults:
    """The results with these columns of one table set."""
    own: pl.DataFrame = getattr(data, name)
    return replace(data, **{name: own.with_columns(**{
        c: pl.lit(pl.Series([v], dtype=own.schema[c])).first() for c, v in columns.items()})})


def said(data: SeasonResults) -> str:
    return Read(season_page(data).html).words


def test_the_page_is_whole_and_in_the_readers_order() -> None:
    page = season_page(whole()).html
    read = Read(page)
    assert page.startswith("<!doctype html>")
    assert {tag for tag, _ in read.tags} <= OURS
    assert read.headings("h1") == 1
    assert re.findall(r"<h2>(.*?)</h2>", page) == HEADINGS
    assert ("meta", {"name": "viewport", "content": "width=device-width,initial-scale=1"}) in read.tags
    assert read.headings("svg") == 2
    for part in ("wheat season 2013", "bread wheat · 40 lines · 2 traits · models: genomic BLUP",
                 "genomic-platform rank DIR --season 2013", "grain yield, kg/ha", "plant height, cm",
                 "Made from selection_index aaaaaaaaaaaa; and 1 table of earlier seasons. Fingerprint ffffffffffff."):
        assert part in read.words, part
    assert "nan" not in page.lower().replace("maintenance", "")
    assert "None" not in read.words.replace("None of", "")


def test_the_ranking_shows_thirty_lines_with_value_error_and_mark() -> None:
    read = Read(season_page(whole()).html)
    lines = [row for row in read.rows if len(row) > 2 and re.fullmatch(r"L\d+(\xa0◆)?", row[1]) and "±" in row[-1]]
    assert len(lines) == 30
    # σ_g √(1 − .75) = 400 / 2 and 2 / 2; both values at 2 and −2 … of σ_g over 40 lines
    assert lines[0] == ["1", "L0", "+2.00 (75\xa0%)", "fam", "+800 ± 200", "+4.0 ± 1.0"]
    assert lines[1][1] == "L1\xa0◆"
    assert ["◆ no record, no relative"] in read.rows
    assert ["2", "L1", "no record, no relative", "L9 (0.10)", "30\xa0%"] in read.rows
    assert ["grain yield", "more", "1", "7,000 kg/ha"] in read.rows


def test_this_harvest_in_words() -> None:
    told = said(whole())
    for part in ("r 0.50 on 30 lines (0.60 of lines with an earlier record, 0.40 of new lines).",
                 "Slope 0.62: 62 % of a predicted difference came at harvest, so differences between lines are "
                 "overstated.", "Bias +10 kg/ha: by so much the lines grown were predicted above the average line",
                 "Of the best fifth at harvest, 40 % were in the predicted best fifth (20 % by chance).",
                 "The predicted best fifth was 1.5 cm better at harvest than the mean of all lines.",
                 "r 0.50 lies within 0.20 to 0.70", "Hotter than ever.", "31.5 °C", "28.2 °C", "1 of 2",
                 "chromosome 3B", "0.45 → 0.50", "+0.05 (−0.01 to +0.11)",
                 "genomic BLUP through 2011 → kernel through 2012, for a new harvest"):
        assert part in told.replace("\xa0", " "), part


def test_the_advice_says_what_to_lean_on() -> None:
    data = whole()
    assert season_page(data).summary == (
        "Use the list to advance lines: 40 lines ranked by grain yield and plant height, headed by L0, L1, L2, L3 and "
        "L4. The first 6 lie within one standard error of the best: take them as a group, and choose among them by "
        "what the index does not know. This harvest bore out the values published before it for grain yield (r 0.50) "
        "and plant height (r 0.50). Of the first 30, 1 line is marked ◆: see a plot of it before deciding.")
    beaten = season_page(changed(data, "accuracy", loses_to=["own_mean"])).summary
    assert "Look at field records first for grain yield (the line's own earlier mean did better)" in beaten
    assert "bore out" not in beaten
    below = season_page(changed(data, "accuracy_promise", verdict="below")).summary
    assert "Do not lean on the order for grain yield (r 0.50) and plant height (r 0.50)" in below
    unknown = season_page(changed(data, "accuracy", r_all=None)).summary
    assert "to tell for grain yield and plant height." in unknown
    assert "bore out" not in unknown
    assert "Check alleles" in season_page(changed(data, "drift", decision="platform")).summary
    assert "waits for your approval: grain yield and plant height" in season_page(
        changed(data, "decisions", decision="pending")).summary
    assert season_page(replace(data, value="breeding_value")).summary.startswith("Use the list to choose parents")


def enum(contract: TableContract, column: str) -> set[str]:
    (meaning,) = (c.meaning for c in contract.columns if c.name == column)
    return {word.strip() for word in meaning.rpartition(":")[2].split("|")}


@pytest.mark.parametrize(("name", "column", "contract", "vocabulary"), [
    ("accuracy_promise", "verdict", monitoring.ACCURACY_PROMISE, words.PROMISE),
    ("drift", "decision", predictions.DRIFT_REPORT, words.POPULATION),
    ("input_drift", "decision", monitoring.INPUT_DRIFT, words.INPUTS),
    ("prediction_drift", "decision", monitoring.PREDICTION_DRIFT, words.PREDICTIONS),
    ("decisions", "decision", predictions.REGISTERED_MODEL, words.DECISION),
    ("retraining_effect", "helped", monitoring.RETRAINING_EFFECT, words.HELPED),
    ("retraining_effect", "cause", monitoring.RETRAINING_EFFECT, words.CAUSE)])
def test_every_verdict_of_a_contract_has_words_and_they_are_shown(name: str, column: str, contract: TableContract,
                                                                  vocabulary: dict[str, str]) -> None:
    assert set(vocabulary) == enum(contract, column)
    for verdict, word in vocabulary.items():
        assert word in season_page(changed(whole(), name, **{column: verdict})).html, verdict


def test_groups_off_their_promise_are_named_and_the_others_counted() -> None:
    data = whole()
    assert data.accuracy_promise is not None
    groups = [data.accuracy_promise.with_columns(level=pl.lit("family"), label=pl.lit(f"fam{verdict}"),
                                                 verdict=pl.lit(verdict)) for verdict in ("below", "too_few")]
    told = said(replace(data, accuracy_promise=pl.concat([data.accuracy_promise, *groups])))
    assert "4 comparisons: too few lines to tell 2; below the promise 2." in told
    assert "fambelow" in told
    assert "famtoo_few" not in told


def test_environments_beyond_all_earlier_are_named_only_where_a_test_exists() -> None:
    assert "flowering temperature max c" in said(changed(whole(), "input_drift", decision="too_few"))
    untested = said(changed(whole(), "input_drift", decision="no_test", message="one season: no test exists"))
    assert "flowering" not in untested
    assert "1 feature: no test exists 1. One season: no test exists." in untested


def test_numbers_that_round_to_nothing_have_no_sign() -> None:
    assert [words.r_of(v) for v in (-0.001, -0.4, None)] == ["0.00", "−0.40", "–"]
    assert [words.measured(v, "t", 1.0) for v in (-0.01, -1234.0)] == ["0.0 t", "−1,234.0 t"]
    assert "Bias 0 kg/ha: on average the lines grown were predicted to be as the average line." in said(
        changed(whole(), "accuracy", bias=-0.2))


@pytest.mark.parametrize("name", OPTIONAL)
def test_what_was_not_assessed_is_left_out_with_a_word(name: str) -> None:
    without = said(replace(whole(), **{name: None}))
    assert "not assessed in this season" not in said(whole())
    assert without.count("not assessed in this season.") == 1


def test_a_first_season_and_one_without_order_say_that_nothing_is_scored() -> None:
    bare = replace(results(season="2011"), **dict.fromkeys(OPTIONAL))
    told = said(bare)
    assert "No harvest could be scored yet" in told
    assert "No harvest has tested values of this programme yet" in told
    past = whole().accuracy.filter(pl.col("season") == "2012")
    assert "This harvest tested none of the values published before it" in said(replace(whole(), accuracy=past))
    assert "seasons have no order" in said(replace(bare, season="all", ordered=False))


@pytest.mark.parametrize("season", [{}, {"r_all": None, "r_known": None, "r_new": None, "slope": None, "bias": None,
                                         "top20_hit": None, "baseline_own_mean": None}, {"r_all": -0.4, "slope": -1.0}])
def test_scores_that_cannot_be_had_or_are_bad(season: dict[str, Any]) -> None:
    page = season_page(changed(whole(), "accuracy", **season)).html
    Read(page)
    assert ("No r can be had from 30 lines" in page) == ("slope" in season and season["slope"] is None)
    assert ("did not differ that way" in page) == (season.get("slope") == -1.0)


def test_one_trait_without_unit_or_model_and_a_trait_without_harvest() -> None:
    told = said(results(traits={"vigour": TraitFacts()}))
    assert "vigour" in told
    assert "±" not in told.partition("Can you trust")[0]
    data = whole()
    assert "Not harvested in season 2013." in said(replace(data, accuracy=data.accuracy.filter(
        (pl.col("trait") != "plant_height_cm") | (pl.col("season") != "2013"))))
    assert "Not yet scored on a harvest." in said(replace(data, accuracy=data.accuracy.filter(
        pl.col("trait") != "plant_height_cm")))


def test_names_of_traits_leave_out_a_repeated_unit_unless_two_would_be_alike() -> None:
    units = {"grain_yield_kg_ha": "kg/ha", "chalky_frac": "fraction", "height_cm": "cm", "height_m": "m", "x": "x"}
    assert results(traits={t: TraitFacts(u) for t, u in units.items()}).names == {
        "grain_yield_kg_ha": "grain yield", "chalky_frac": "chalky", "height_cm": "height cm", "height_m": "height m",
        "x": "x"}


def test_twelve_traits_stand_in_tables_of_five_and_five_thousand_lines_are_quick() -> None:
    data = results(5_000, {f"trait_{i}": TraitFacts("t/ha", genetic_sd=1.0 + i, average=5.0) for i in range(12)})
    page = season_page(data).html
    read = Read(page)
    assert page.count("Further traits of the same lines") == 2
    assert sum(row[:2] == ["30", "L29"] for row in read.rows) == 3
    assert "5,000 lines" in read.words
    assert len(page) < 250_000  # thirty lines of 12 traits and 12 figures, whatever the number of lines


NASTY = "<script>alert(1)</script>{}'\"><img src=x onerror=alert(2)>"


def test_names_from_files_stay_words() -> None:
    unit = TraitFacts("' onclick='x <b>", "maximise", 1.0, 1.0, 1.0)
    data = changed(results(line=NASTY, family=NASTY, traits={"y": unit}), "line_trust", closest_relative=NASTY)
    data = changed(changed(data, "drift", message=NASTY), "input_drift", feature=NASTY, message=NASTY)
    data = changed(changed(data, "population_shift", name=NASTY), "decisions", recipe=NASTY, reasons=[NASTY])
    data = changed(data, "accuracy_promise", level="family", label=NASTY, verdict="below")
    read = Read(season_page(replace(data, crop=NASTY, program=NASTY)).html)
    assert {tag for tag, _ in read.tags} <= OURS
    assert not [a for _, attrs in read.tags for a in attrs if a.startswith("on") or a in ("src", "href")]
    assert NASTY.format(0) in read.words


@settings(max_examples=15, deadline=None)
@given(st.text(min_size=1, max_size=80).filter(lambda text: not {"{", "}", "\r", "\x00"} & set(text)))
def test_any_name_stays_a_word(name: str) -> None:
    read = Read(season_page(results(3, line=name + "{}", family=name)).html)
    assert {tag for tag, _ in read.tags} <= OURS
    assert any(name in cell for row in read.rows for cell in row)


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing() -> None:
    page = season_page(whole()).html
    assert "<script" not in page
    assert not re.search(r"(src|href|srcset)\s*=|url\(|@import|https?:|//", page)


def test_the_same_results_give_the_same_bytes_and_the_release_is_named_afterwards(tmp_path: Path) -> None:
    page = season_page(whole())
    assert season_page(results()) == page
    page.save(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["index.html"]
    assert SeasonPage.load(tmp_path) == page
    published = Read(page.released("c" * 40, "2013-05-02", "0.1.0")).words
    assert "Published 2013-05-02 · commit cccccccccccc · code 0.1.0" in published


@pytest.mark.browser
def test_a_browser_draws_the_page_without_a_sideways_scroll(tmp_path: Path) -> None:
    """At a phone's and a desk's width; with names that are long and cannot be broken at a space."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    facts = TraitFacts("mg/kernel", genetic_sd=1.0, average=5.0)
    data = results(line="OC" * 30 + "{}", family="fam" * 20, traits={f"thousandkernelweightatharvest{i}": facts
                                                                     for i in "abcdef"})
    data = changed(data, "input_drift", feature="weather" * 9)
    (tmp_path / "page.html").write_text(season_page(data).html, encoding="utf-8")
    # a frame gives the page a phone's width, which a headless window cannot have; the title carries the answer out
    frames = "".join(f"<iframe src=page.html width={width} height=3000></iframe>" for width in (390, 1280))
    probe = ("<script>onload=()=>document.title=[0,1].map(i=>frames[i].document.documentElement.scrollWidth+' '+"
             "Math.max(...[...frames[i].document.querySelectorAll('.scroll')].map(s=>s.scrollWidth-s.clientWidth)))"
             ".join(' ')</script>")
    (tmp_path / "frame.html").write_text(frames + probe)
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
               "--disable-background-networking", "--allow-file-access-from-files", "--dump-dom",
               f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=3000",
               f"file://{tmp_path / 'frame.html'}"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    title = re.search(r"<title>(\d+) (\d+) (\d+) (\d+)</title>", shown.stdout)
    assert title is not None, shown.stdout[:500] + shown.stderr[-500:]
    phone, beyond_on_phone, desk, beyond_on_desk = map(int, title.groups())
    assert phone <= 390
    assert desk <= 1280
    assert beyond_on_phone == beyond_on_desk == 0
