"""The report's first part: what to do with the list, the list itself, and the lines in it to be trusted less."""

from __future__ import annotations

from html import escape

import polars as pl

from genomic_platform.errors import counted
from genomic_platform.results.season_page import words
from genomic_platform.results.season_page.inputs import GENOTYPIC, SeasonResults
from genomic_platform.results.season_page.words import Head, joined

FIRST = 30
#: Traits side by side; more stand in a further table, so that a printed page holds them.
ABREAST = 5
MOST_DOUBTED = 12
_MARK = "◆"


def advice(given: SeasonResults) -> str:
    """What a breeder may do with the list, in a few plain sentences."""
    said = [_first_lines(given), *_held(given), _doubted(given), *_warnings(given)]
    return " ".join(sentence for sentence in said if sentence)


def _first_lines(given: SeasonResults) -> str:
    index = given.index
    if index.is_empty():
        return "No line is ranked."
    best = index.row(0, named=True)
    alike = index.filter(pl.col("index") >= best["index"] - given.index_error(best["index_reliability"])).height
    weighed = [given.name(t) for t, facts in given.traits.items() if facts.weight > 0]
    first = joined(index["line_id"].head(5).to_list())
    group = (f"The first {alike:,} lie within one standard error of the best: take them as a group, and choose among "
             "them by what the index does not know." if alike > 1 else
             "The first stands more than one standard error above the rest.")
    purpose = "advance lines" if given.value == GENOTYPIC else "choose parents"
    return (f"Use the list to {purpose}: {counted(index.height, 'line')} ranked by "
            f"{words.few(weighed)}, headed by {first}. {group}")


def _held(given: SeasonResults) -> list[str]:
    """For which traits this harvest bore the earlier values out, for which it did not."""
    scored = given.scored
    if scored.is_empty():
        tested = "No harvest has tested values of this programme yet" if given.accuracy.is_empty() else \
            "This harvest tested none of the values published before it"
        return [f"{tested}: use the list beside your own records, not in place of them."]
    promised = given.promised
    verdicts = {} if promised is None else dict(promised.select("trait", "verdict").iter_rows())
    sound, weak, beaten, untold = [], [], [], []
    for row in given.by_trait(scored.filter(pl.col("trait").is_in(list(given.traits)))):
        name, r = given.name(row["trait"]), row["r_all"]
        if r is None or verdicts.get(row["trait"]) == "too_few":
            untold.append(name)
        elif row["loses_to"]:
            beaten.append(f"{name} ({words.baselines(row['loses_to'])} did better)")
        elif r <= 0 or verdicts.get(row["trait"]) == "below":
            weak.append(f"{name} (r {words.r_of(r)})")
        else:
            sound.append(f"{name} (r {words.r_of(r)})")
    said = [(sound, "This harvest bore out the values published before it for {}."),
            (beaten, "Look at field records first for {}."),
            (weak, "Do not lean on the order for {}, which this harvest did not bear out."),
            (untold, "This harvest had too few lines, or too little variation, to tell for {}.")]
    return [sentence.format(words.few(names)) for names, sentence in said if names]


def _doubted(given: SeasonResults) -> str:
    doubted = set(given.less_trusted) & set(given.index["line_id"].head(FIRST))
    if not doubted:
        return ""
    shown = min(FIRST, given.index.height)
    return (f"Of the first {shown}, {counted(len(doubted), 'line is', 'lines are')} marked {_MARK}: see a plot of "
            f"{'it' if len(doubted) == 1 else 'them'} before deciding.")


def _warnings(given: SeasonResults) -> list[str]:
    said = []
    if "platform" in given.drift["decision"]:
        said.append("Check alleles and genotyping platform before using the values of new lines.")
    waiting = given.decisions.filter(pl.col("decision") == "pending")["trait"].to_list()
    if waiting:
        said.append(f"A newer model waits for your approval: {joined([given.name(t) for t in waiting])}.")
    return said


def ranking(given: SeasonResults) -> str:
    """The first lines with index, values ± standard error, and marks; where the rest is."""
    shown = given.index.head(FIRST)
    values = _values(given, shown["line_id"].to_list())
    traits = [t for t in given.traits if any(trait == t for trait, _ in values)]
    parts = [traits[i : i + ABREAST] for i in range(0, len(traits), ABREAST)] or [[]]
    tables = [_lines(given, shown, values, part, first=part is parts[0]) for part in parts]
    marked = f" {_MARK} marks lines to be trusted less." if given.less_trusted else ""
    spread = " ± is one standard error: in two of three cases the true value lies within it." if any(
        given.traits[t].genetic_sd is not None for t in traits) else ""
    return (f"<h2>The ranking</h2><h3>The first {shown.height:,} of {counted(given.index.height, 'line')}</h3>"
            + words.paragraph(f"Values are deviations from the average line.{spread}{marked}", "more")
            + "<h3>Further traits of the same lines</h3>".join(tables)
            + "<p class=more>The whole ranking, every line with its values and reliabilities: <code>genomic-platform "
              f"rank DIR --season {escape(given.season)} --out ranking.csv</code></p>" + _goals(given))


def _goals(given: SeasonResults) -> str:
    heads = [Head("trait", "id"), Head("wanted", "t"), Head("weight"), Head("average line")]
    rows = []
    for trait, facts in given.traits.items():
        average = "–" if facts.average is None else words.measured(facts.average, facts.unit,
                                                                    facts.genetic_sd).lstrip("+")
        rows.append([words.breakable(given.name(trait)), escape(_wanted(facts.direction)), f"{facts.weight:g}",
                     escape(average)])
    return "<h3>What the index asks for</h3>" + words.table(heads, rows, "slim")


def _wanted(direction: str) -> str:
    return {"maximise": "more", "minimise": "less"}.get(direction, direction.replace("target(", "near ").rstrip(")"))


def _values(given: SeasonResults, lines: list[str]) -> dict[tuple[str, str], tuple[float, float]]:
    """(trait, line) → value and its reliability."""
    own = given.values.filter(pl.col("environment").is_null(), pl.col("line_id").is_in(lines))
    return {(trait, line): (value, reliability) for trait, line, value, reliability in own.select(
        "trait", "line_id", given.value, f"{given.value}_reliability").iter_rows()}


def _lines(given: SeasonResults, shown: pl.DataFrame, values: dict[tuple[str, str], tuple[float, float]],
           traits: list[str], first: bool) -> str:
    families = [_family(given, row) for row in shown.iter_rows(named=True)]
    families = families if first and any(families) else []
    heads = [Head("rank", "n rank"), Head("line", "id"), *([Head("index (reliability)", "n ix")] if first else []),
             *([Head("family", "t")] if families else [])]
    heads += [Head(", ".join(part for part in (given.name(t), given.traits[t].unit) if part)) for t in traits]
    places = {trait: _places(given, values, trait) for trait in traits}
    rows, notes = [], {}
    for i, row in enumerate(shown.iter_rows(named=True)):
        why = given.less_trusted.get(row["line_id"])
        cells = [f"{row['rank']:,}", words.name_of(row["line_id"], _MARK if why else "")]
        if first:
            cells.append(f"{words.signed(row['index'], 2)} <span class=pm>"
                         f"({words.percent(row['index_reliability'])})</span>")
            notes[i] = _note(row, why)
        cells += [words.name_of(families[i]) or "–"] if families else []
        rows.append(cells + [_value(given, values.get((t, row["line_id"])), t, places[t]) for t in traits])
    return words.table(heads, rows, "cards ranked indexed" if first else "cards ranked", notes)


def _places(given: SeasonResults, values: dict[tuple[str, str], tuple[float, float]], trait: str) -> int:
    """Decimals of a trait's column: two figures of its smallest standard error, else of its largest value."""
    own = [pair for (name, _), pair in values.items() if name == trait]
    errors = [e for _, reliability in own if (e := given.traits[trait].standard_error(reliability))]
    return words.decimals(min(errors) if errors else max((abs(value) for value, _ in own), default=None))


def _value(given: SeasonResults, pair: tuple[float, float] | None, trait: str, places: int) -> str:
    if pair is None:
        return "–"
    error = given.traits[trait].standard_error(pair[1])
    spread = f" <span class=pm>± {error:,.{places}f}</span>" if error is not None else ""
    return f"{words.signed(pair[0], places)}{spread}"


def _note(row: dict, why: str | None) -> str:
    """What stands under a line: its role, whether it was tried, why it is to be trusted less."""
    facts = ["" if row["role"] == "candidate" else row["role"], "" if row["phenotyped"] else "not yet in a trial"]
    said = [escape(fact) for fact in facts if fact]
    return " · ".join([*said, *([f"<span class=less>{_MARK} {escape(why)}</span>"] if why else [])])


def _family(given: SeasonResults, row: dict) -> str:
    if row["family"]:
        return row["family"]
    own = given.line_records.filter(pl.col("line_id") == row["line_id"]).select("parent_1", "parent_2")
    parents = [p for p in (own.row(0) if own.height else ()) if p]
    return " × ".join(parents)


def doubts(given: SeasonResults) -> str:
    """Which lines are to be trusted less, and why, the highest ranked first."""
    start = "<h2>Lines to trust less, and why</h2>"
    if given.line_trust is None:
        return start + words.absent("Which lines are to be trusted less was")
    doubted = given.less_trusted
    if not doubted:
        return start + words.paragraph(f"None of {counted(given.line_trust.height, 'line')}: each has a record of its "
                                       "own or a close relative among the lines the models learned from.")
    trust = pl.DataFrame({"line_id": list(doubted)}, schema={"line_id": pl.String})
    ranked = trust.join(given.index.select("line_id", "rank"), on="line_id", how="left").join(
        given.line_trust, on="line_id").sort("rank", "line_id", nulls_last=True)
    rows = [[f"{row['rank'] or '–'}", words.name_of(row["line_id"]), escape(doubted[row["line_id"]]), _relative(row),
             words.percent(row["reliability"])] for row in ranked.head(MOST_DOUBTED).to_dicts()]
    heads = [Head("rank", "n rank"), Head("line", "id"), Head("why", "w"), Head("closest relative in training", "t"),
             Head("mean reliability")]
    more = words.paragraph(f"The first {MOST_DOUBTED} of {ranked.height:,} by rank; all are in the table line_trust.",
                           "more") if ranked.height > MOST_DOUBTED else ""
    return (start + words.paragraph(f"{counted(ranked.height, 'line')} of {given.line_trust.height:,}. Their place may "
                                    "be right; less is known that would say so.")
            + words.table(heads, rows, "cards ranked") + more)


def _relative(row: dict) -> str:
    if row["closest_relative"] is None:
        return "none"
    return f"{words.name_of(row['closest_relative'])} ({words.r_of(row['closest_relationship'])})"
