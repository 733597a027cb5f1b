"""A comparison as a page of Evidently's, with the platform's verdicts in place of Evidently's own.

Run as a program on a folder, since Evidently patches NumPy where it is imported. Nothing here asks a network, and what
Evidently reports home its web server reports, not this. The page is a picture: what is decided is decided elsewhere,
and said on it. Reference: docs.evidentlyai.com, Report; evidently 0.7.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from genomic_platform.drift.column_shift import ALPHA, MIN_DISTANCE, MIN_GROUPS, MIN_VALUES, ColumnShift, column_shifts
from genomic_platform.drift.comparisons import GROUP, Comparison, chosen
from genomic_platform.errors import counted

if TYPE_CHECKING:
    from evidently.core.report import Snapshot
    from evidently.legacy.model.widget import BaseWidgetInfo
    from evidently.presets import DataDriftPreset

#: A column costs Evidently 45 ms and 75 KB of page.
MOST_COLUMNS = 50
TEST = "platform"
_HEADINGS = {"column_name": "Column", "data_drift": "These rows", "drift_score": "p, corrected"}
_DECISIONS = {"no_test": "no test", "too_few": "too few to tell"}
_VERDICTS = {"moved": "moved", "same": "same", "too_few": "too few rows to tell"}


def drift_page(comparison: Comparison, folder: Path, seed: int = 0) -> dict[str, Any]:
    """Write `<name>.html`, `<name>.json` and `<name>.snapshot.json` (for Evidently's workspace) into the folder.

    Returns what `<name>.json` holds: title, rows, decision, columns (fields of `ColumnShift`), left_out. Only that
    file is written where no column can be shown.
    """
    shown, left_out = chosen(comparison, MOST_COLUMNS)
    shifts = _shifts(shown, seed) if shown.columns else []
    told = {"title": shown.title, "season": shown.season, "decided": shown.decided,
            "rows_reference": shown.reference.height, "rows_current": shown.current.height,
            "columns": [asdict(shift) for shift in shifts], "left_out": left_out}
    text = json.dumps(told, indent=1, ensure_ascii=False)
    (folder / f"{shown.name}.json").write_text(text, encoding="utf-8")
    if shifts:
        snapshot = _snapshot(shown, shifts, page_text(shown, shifts, left_out))
        snapshot.save_html(str(folder / f"{shown.name}.html"))
        (folder / f"{shown.name}.snapshot.json").write_text(snapshot.dumps(), encoding="utf-8")
    return told


def page_text(comparison: Comparison, shifts: Sequence[ColumnShift], left_out: Mapping[str, str]) -> str:
    """What the page says before it shows anything, as Markdown paragraphs."""
    by_verdict = {v: [s.column for s in shifts if s.verdict == v] for v in _VERDICTS}
    grouped = GROUP in comparison.reference.columns
    said = [f"**What is decided about drift, the platform decides, not this page.** {comparison.decided}",
            f"Current: {counted(comparison.current.height, 'row')}, {comparison.rows_current}. Reference: "
            f"{counted(comparison.reference.height, 'row')}, {comparison.rows_reference}.",
            f"Verdicts on these rows: Kolmogorov–Smirnov distance, p by permuting "
            f"{'whole families' if grouped else 'rows'}, corrected for the number of columns. A column moved where p "
            f"is at most {ALPHA:g} and the distance at least {MIN_DISTANCE:g}."]
    if comparison.decisions:
        said.append("*Decided* also asks whether this season differs from others more than seasons usually do: the "
                    "environments of a season share its year.")
    if len(by_verdict["too_few"]) == len(shifts):
        wanted = f" of at least {MIN_GROUPS} families" if grouped else ""
        said.append(f"**Too few rows to tell**: no column has {MIN_VALUES} values{wanted} on both sides. "
                    "The distributions are shown without a verdict.")
    else:
        moved, tested = by_verdict["moved"], len(shifts) - len(by_verdict["too_few"])
        said.append(f"**{counted(len(moved), 'column')} of {tested} moved**{': ' * bool(moved)}{'; '.join(moved)}.")
        if by_verdict["too_few"]:
            said.append(f"Too few rows to tell: {'; '.join(by_verdict['too_few'])}.")
    said += [f"Left out, {why}: {'; '.join(name for name in left_out if left_out[name] == why)}."
             for why in dict.fromkeys(left_out.values())]
    return "\n\n".join(said)


def _shifts(comparison: Comparison, seed: int) -> list[ColumnShift]:
    both = pl.concat([comparison.reference, comparison.current])
    new_N = np.arange(both.height) >= comparison.reference.height
    values = {name: both[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()
              for column, name in comparison.columns.items()}
    groups = both[GROUP].cast(pl.String).to_list() if GROUP in both.columns else None
    return column_shifts(values, new_N, groups, seed=seed)


def _snapshot(comparison: Comparison, shifts: Sequence[ColumnShift], text: str) -> Snapshot:
    from evidently import DataDefinition, Dataset, Report
    from evidently.legacy.calculations.stattests import StatTest, register_stattest
    from evidently.legacy.core import ColumnType

    found = {shift.column: shift for shift in shifts}
    register_stattest(
        StatTest(TEST, "Kolmogorov–Smirnov, permuted, corrected", [ColumnType.Numerical], ALPHA),
        lambda reference, current, kind, threshold: (_score(found[str(current.name)]),
                                                     found[str(current.name)].verdict == "moved"))
    definition = DataDefinition(numerical_columns=list(found))
    current, reference = (Dataset.from_pandas(
        table.select(pl.col(column).cast(pl.Float64).alias(name) for column, name in comparison.columns.items())
        .to_pandas(), data_definition=definition) for table in (comparison.current, comparison.reference))
    decisions = {name: comparison.decisions.get(column, "") for column, name in comparison.columns.items()}
    return Report([_preset(found, decisions, text)], include_tests=False).run(
        current, reference, timestamp=_time_of(comparison.season), name=comparison.title,
        tags=[comparison.name, comparison.season], metadata={"season": comparison.season})


def _preset(found: Mapping[str, ColumnShift], decisions: Mapping[str, str], text: str) -> DataDriftPreset:
    """Evidently's drift table under the platform's words; Evidently's verdict on all columns together is left out."""
    from evidently.legacy.renderers.html_widgets import text_widget
    from evidently.presets import DataDriftPreset

    class PlatformDrift(DataDriftPreset):
        def render(self, context: Any, child_widgets: Any = None) -> list[BaseWidgetInfo]:
            table = super().render(context, child_widgets)[-1]
            _retell(table, found, decisions)
            return [text_widget(text=text), table]

    return PlatformDrift(num_method=TEST, include_tests=False)


def _retell(table: BaseWidgetInfo, found: Mapping[str, ColumnShift], decisions: Mapping[str, str]) -> None:
    """The table in the platform's words, what moved first."""
    params: dict[str, Any] = table.params  # type: ignore[assignment]
    told = [shift for shift in found.values() if shift.verdict != "too_few"]
    moved = sum(shift.verdict == "moved" for shift in told)
    table.title = f"{moved} of {len(told)} columns moved" if told else "Too few rows to tell"
    params["columns"] = [{**column, "title": _HEADINGS.get(column["field"], column["title"])}
                         for column in params["columns"] if column["field"] not in ("column_type", "stattest_name")]
    if any(decisions.values()):
        params["columns"].append({**params["columns"][-1], "title": "Decided", "field": "decided"})
    for row in params["data"]:
        decision = decisions[row["column_name"]]
        row["decided"] = _DECISIONS.get(decision, decision)
        shift = found[row["column_name"]]
        row["data_drift"] = _VERDICTS[shift.verdict]
        row["drift_score"] = "–" if shift.p_adjusted is None else round(shift.p_adjusted, 4)
        row["details"]["parts"] = row["details"]["parts"][-1:]  # the distribution; not the values in order of rows
    drawn = {part["id"] for row in params["data"] for part in row["details"]["parts"]}
    table.additionalGraphs = [graph for graph in table.additionalGraphs or [] if graph.id in drawn]
    order = {name: i for i, name in enumerate(found)}
    params["data"].sort(key=lambda row: (found[row["column_name"]].verdict != "moved", order[row["column_name"]]))
    params["rowsPerPage"] = len(params["data"])


def _score(shift: ColumnShift) -> float:
    """What Evidently keeps as a column's drift score; 1 where there are too few rows."""
    return 1.0 if shift.p_adjusted is None else shift.p_adjusted


def _time_of(season: str) -> datetime | None:
    """1 January of the year a label begins with, so that seasons stand in their order; None = now."""
    return datetime(int(season[:4]), 1, 1) if season[:4].isdigit() and int(season[:4]) else None


def main(folder: Path, seed: int) -> None:
    """Draw every comparison saved in a folder of `folder`; the files come beside those folders."""
    for saved in sorted(path.parent for path in folder.glob("*/comparison.json")):
        drift_page(Comparison.load(saved), folder, seed)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
