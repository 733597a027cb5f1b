"""Figures are real PNG files; values far outside their environment are found; the average line is what it says."""

import base64

import numpy as np
import polars as pl

from genomic_platform.phenotypes.plausible import average_line, implausible_values
from genomic_platform.results import plots


def png(markdown: object) -> bytes:
    text = str(getattr(markdown, "md_str", ""))
    return base64.b64decode(text.split("base64,")[1].removesuffix(")"))


def test_figures_are_png() -> None:
    values = pl.DataFrame({"trait": ["a", "b"] * 20, "value": np.arange(40.0)})
    pairs = pl.DataFrame({"trait": ["a"] * 4, "predicted": [1., 2, 3, 4], "observed": [1., 2, 2, 5],
                          "known": [True, True, False, False]})
    scores = pl.DataFrame({"season": ["1", "2"], "trait": ["a", "a"], "r_all": [.1, None]})
    for figure in (plots.allele_frequency_spectrum(np.array([.1, .9, np.nan])), plots.relationship(np.eye(4)),
                   plots.distribution(values, "value", {"a": "kg"}), plots.predicted_against_observed(pairs, {}),
                   plots.accuracy_over_seasons(scores)):
        assert png(figure).startswith(b"\x89PNG")


def test_markdown_table() -> None:
    text = plots.markdown_table(pl.DataFrame({"trait": ["a"], "r": [.12345], "n": [3], "none": [None]})).md_str
    assert text.splitlines()[-1] == "| a | 0.123 | 3 | – |"


def test_implausible_values_are_found_in_their_environment() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(100, 5, 99), [1000.0]])
    records = pl.DataFrame({"trait": "yield", "environment": "e", "line_id": [str(i) for i in range(100)],
                            "value": values})
    assert implausible_values(records)["line_id"].to_list() == ["99"]
    constant = records.with_columns(value=pl.lit(3.0))
    assert implausible_values(constant).is_empty()


def test_average_line() -> None:
    means = pl.DataFrame({"trait": ["t", "t", "t"], "mean": [10.0, 12.0, 14.0], "centred": [-2.0, 0.0, 2.0]})
    assert average_line(means) == {"t": 12.0}
