"""What a season is laid beside for a person to look at: its environments, and lines not learned from yet, as tables.

Each has two tables of rows, current and reference, and columns named for a breeder, in order of importance. Rows of
environments and of lines never share a table. What differs is `column_shift`'s, pages are `evidently_pages`'.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl

from genomic_platform.drift.families import family_of_lines
from genomic_platform.drift.relatives import closest_relatives
from genomic_platform.genotypes.kinship.relationship_table import relationship_array
from genomic_platform.models.forward import predicted_and_observed
from genomic_platform.phenotypes.weather_features import FEATURES

#: Column of both tables: what rows share that are no independent draws.
GROUP = "group"
COMPONENTS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
#: How names of features and covariates end → their unit; an end that contains another comes first.
_UNITS = {"_c_d": "°C d", "_mj_m2": "MJ/m²", "_kpa": "kPa", "_mm": "mm", "_pct": "%", "_c": "°C", "_h": "h"}


@dataclass(frozen=True, eq=False)
class Comparison:
    """Rows of a season beside those before it.

    Attributes
    ----------
    name : `inputs` or `lines`. title : of its page. season : its label.
    reference, current : columns of float64, and `GROUP` where rows are no independent draws.
    columns : column → its name for a breeder, the most important first.
    rows_reference, rows_current : what the rows are, in words.
    decided : what the platform decided, in words. decisions : the same of single columns, where it decides on them.
    """

    name: str
    title: str
    season: str
    reference: pl.DataFrame
    current: pl.DataFrame
    columns: Mapping[str, str]
    rows_reference: str
    rows_current: str
    decided: str = ""
    decisions: Mapping[str, str] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Keep it in a folder that exists."""
        self.reference.write_parquet(folder / "reference.parquet")
        self.current.write_parquet(folder / "current.parquet")
        words = {name: value for name, value in vars(self).items() if name not in ("reference", "current")}
        (folder / "comparison.json").write_text(json.dumps(words), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Comparison:
        """One that was saved."""
        words = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
        return cls(**words, reference=pl.read_parquet(folder / "reference.parquet"),
                   current=pl.read_parquet(folder / "current.parquet"))


def environments_compared(features: pl.DataFrame, season: str, drift: pl.DataFrame | None = None) -> Comparison:
    """A season's environments beside those of the seasons before it.

    Parameters
    ----------
    features : contract ENVIRONMENT_FEATURES, all environments known at the season.
    drift : contract INPUT_DRIFT of the season: what was decided.

    The order of columns: covariates of the file by name, weather of the whole season, then that of the other windows.
    """
    wide = features.pivot("feature", index=["environment", "season"], values="value", maintain_order=True)
    names = sorted((c for c in wide.columns if c not in ("environment", "season")), key=_importance)
    is_current = pl.col("season") == season
    decisions = {} if drift is None else dict(drift.select("feature", "decision").iter_rows())
    return Comparison(
        "inputs", f"Environments of season {season}", season, wide.filter(~is_current).select(names),
        wide.filter(is_current).select(names), {name: feature_words(name) for name in names},
        "environments of earlier seasons", f"environments of season {season}", _decided_on(decisions), decisions)


def lines_compared(values: pl.DataFrame, structure: pl.DataFrame, relationship: pl.DataFrame,
                   line_records: pl.DataFrame, *, season: str, trained_before: Collection[str],
                   promised: pl.DataFrame | None = None, harvest: pl.DataFrame | None = None,
                   decided: str = "") -> Comparison:
    """Genotyped lines that the models had not learned from by the preceding season beside those they had.

    Lines that still have no record are among them, however long they have been known; `drift_report` leaves those out.

    Parameters
    ----------
    values, structure, relationship : contracts VALUES, POPULATION_STRUCTURE, RELATIONSHIP_MATRIX of the season.
    line_records : contract LINE_RECORDS; a line without a family is grouped with its relationship cluster.
    trained_before : lines in the preceding season's training set.
    promised, harvest : contract VALUES as first published after the preceding season, and line_id, trait, observed of
        this harvest; together they give the residuals.

    The order of columns: closest relationship, then by trait value, reliability and residual, then ten components.
    """
    lines = relationship["line_id"].to_list()
    new_N = ~relationship["line_id"].is_in(list(trained_before)).to_numpy()
    matrix_NN = relationship_array(relationship)
    families = dict(line_records.select("line_id", "family").iter_rows())
    group_N = family_of_lines(lines, families, new_N, matrix_NN)
    table = pl.DataFrame({"line_id": lines, GROUP: group_N,
                          "closest": closest_relatives(matrix_NN, ~new_N).closest_relationship_N})
    own = values.filter(pl.col("environment").is_null())
    parts = [own.select("line_id", key=pl.col("trait") + ": predicted value", value="genotypic_value"),
             own.select("line_id", key=pl.col("trait") + ": reliability of the predicted value",
                        value="genotypic_value_reliability")]
    if promised is not None and harvest is not None:
        parts.append(predicted_and_observed(promised, harvest).select(
            "line_id", key=pl.col("trait") + ": residual of the harvest (observed − predicted before it)",
            value=pl.col("observed") - pl.col("predicted")))
    of_traits = pl.concat(parts).sort("key", maintain_order=True)
    ordered = sorted(of_traits["key"].unique(), key=lambda key: key.partition(":")[::2])
    components = structure.filter(pl.col("component") <= len(COMPONENTS)).sort("component").select(
        "line_id", key=pl.col("component").cast(pl.String), value="score")
    numbers = components["key"].unique(maintain_order=True).to_list()
    for long in (of_traits, components):
        if long.height:
            table = table.join(long.pivot("key", index="line_id", values="value"), on="line_id", how="left",
                               maintain_order="left")
    columns = {"closest": "closest relationship to the training set", **{key: key for key in ordered},
               **{n: f"{COMPONENTS[int(n) - 1]} genetic component" for n in numbers}}
    kept = table.select(GROUP, *columns)
    return Comparison("lines", f"Lines not learned from before season {season}", season, kept.filter(~new_N),
                      kept.filter(new_N), columns, "lines learned from before",
                      f"lines not learned from before season {season}, with a record by now or without", decided)


def chosen(comparison: Comparison, most: int) -> tuple[Comparison, dict[str, str]]:
    """The comparison with its first `most` columns that can be shown, and why each other one is left out, by its name.

    The order is fixed before anything is looked at: choosing what differs would make chance a finding.
    """
    kept: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for column, name in comparison.columns.items():
        sides = [t[column].cast(pl.Float64).drop_nulls() for t in (comparison.reference, comparison.current)]
        sides = [side.filter(side.is_finite()) for side in sides]
        if not all(side.len() for side in sides):
            left_out[name] = "no value on one of the sides"
        elif not _varies(pl.concat(sides).to_numpy()):
            left_out[name] = "one value throughout"
        elif len(kept) == most:
            left_out[name] = f"after the first {most}"
        else:
            kept[column] = name
    return replace(comparison, columns=kept), left_out


def _varies(value_N: np.ndarray) -> bool:
    """More than rounding does: differences of a computed constant cannot be divided into the bins of a histogram."""
    low, high = float(value_N.min()), float(value_N.max())
    return high / 2 - low / 2 > 1e-9 * max(abs(low), abs(high))


def feature_words(feature: str) -> str:
    """`temperature mean, days 0–30 after planting (°C)`: an environment feature as a breeder says it."""
    window, base = _parted(feature)
    if base is None:
        return "".join(_words_and_unit(feature))
    words, unit = _words_and_unit(base)
    return f"{words}, {_window_words(window)}{unit}"


def _words_and_unit(name: str) -> tuple[str, str]:
    end = next((end for end in _UNITS if name.endswith(end)), None)
    if end is None or (end == "_c" and "temperature" not in name):  # soil_organic_c is carbon
        return name.replace("_", " "), ""
    return name.removesuffix(end).replace("_", " "), f" ({_UNITS[end]})"


def _decided_on(decisions: Mapping[str, str]) -> str:
    if not decisions:
        return ""
    tested = [feature for feature, decision in decisions.items() if decision in ("same", "shifted")]
    if not tested:
        return "Input drift: too few environments or seasons to tell."
    shifted = [feature_words(feature) for feature in tested if decisions[feature] == "shifted"]
    return f"Input drift: {len(shifted)} of {len(tested)} features shifted{': ' * bool(shifted)}{'; '.join(shifted)}."


def _parted(feature: str) -> tuple[str, str | None]:
    """Window and feature of a weather feature's name; the longest feature it ends with, since names end in others."""
    ends = [base for base in FEATURES if feature.endswith(f"_{base}")]
    base = max(ends, key=len, default=None)
    return (feature, None) if base is None else (feature.removesuffix(f"_{base}"), base)


def _window_words(window: str) -> str:
    if window == "season":
        return "whole season"
    if found := re.fullmatch(r"(days|thermal)_(\d+)_(\d+)", window):
        clock, start, end = found.groups()
        return f"days {start}–{end} after planting" if clock == "days" else f"{start}–{end} °C d after planting"
    return f"{window.replace('_', ' ')} window"


def _importance(feature: str) -> tuple[int, list[tuple[int, str]], int]:
    """Covariates of the file, the whole season, other windows by their numbers; within one as `FEATURES` has them."""
    window, base = _parted(feature)
    numbered = [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", window)]
    rank = 0 if base is None else 1 if window == "season" else 2
    return rank, numbered, 0 if base is None else list(FEATURES).index(base)
