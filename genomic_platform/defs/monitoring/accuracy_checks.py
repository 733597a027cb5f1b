"""Checks that warn a person of inputs, values or accuracy that are not as before.

What cannot be told passes, and the check says so; one that fails shows a plot. They judge nothing that their table has
not decided.
"""

from typing import Any

import polars as pl

from genomic_platform.defs.checking import season_check
from genomic_platform.results import season_plots


@season_check("input_drift", blocking=False)
def inputs_as_before(table: pl.DataFrame) -> tuple[bool, dict[str, Any]]:
    """No feature of this season's environments is further from earlier ones than an ordinary season brings."""
    shifted = table.filter(pl.col("decision") == "shifted")
    return shifted.is_empty(), {
        **({} if shifted.is_empty() else {"effects": season_plots.effects_by_feature(table)}),
        **_counts(table, "decision"), "features_outside_range": table.filter(pl.col("n_outside") > 0).height,
        **_untold(table, "decision", ("no_test", "too_few")),
        **dict(shifted.select("feature", "message").iter_rows())}


@season_check("prediction_drift", blocking=False)
def predictions_as_before(table: pl.DataFrame) -> tuple[bool, dict[str, Any]]:
    """Values of lines are what they were a season before, but for what was learnt since."""
    changed = table.filter(pl.col("decision") == "changed")
    return changed.is_empty(), {
        **_counts(table, "decision"), **_untold(table, "decision", ("first",)),
        **{f"r_previous_{r['trait']}": r["r_previous"] for r in table.drop_nulls("r_previous").to_dicts()},
        **dict(changed.select("trait", "message").iter_rows())}


@season_check("accuracy_promise", blocking=False)
def accuracy_as_promised(table: pl.DataFrame) -> tuple[bool, dict[str, Any]]:
    """No trait, environment or family was predicted worse than earlier forward seasons had promised."""
    below = table.filter(pl.col("verdict") == "below")
    named = pl.concat_str("trait", "level", "label", separator=" ").str.strip_chars_end()
    return below.is_empty(), {**({} if below.is_empty() else {"promised_and_realised": season_plots.promises(table)}),
                              **_counts(table, "verdict"), **_untold(table, "verdict", ("no_promise", "too_few")),
                              **dict(below.select(named, "message").iter_rows())}


def _counts(table: pl.DataFrame, column: str) -> dict[str, int]:
    return dict(table[column].value_counts(sort=True).iter_rows())


def _untold(table: pl.DataFrame, column: str, states: tuple[str, ...]) -> dict[str, str]:
    """What a check that passed could not look at, in the words most of the rows use."""
    untold = table.filter(pl.col(column).is_in(states))
    if table.is_empty():
        return {"cannot_be_told": "there is nothing to compare"}
    if untold.is_empty():
        return {}
    return {"cannot_be_told": f"{untold.height} of {table.height}: {untold['message'].mode().sort()[0]}"}
