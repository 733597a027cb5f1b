"""What became of every batch in a merge, as tables, and batches whose markers cannot be those they claim to be.

Counts and reasons from `harmonise.match` only; repeated lines are reported by `concordance.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from genomic_platform.errors import Problem
from genomic_platform.genotypes.merging.harmonise import frequency
from genomic_platform.genotypes.table import GenotypeTable

BATCH_REPORT_SCHEMA = {"batch": pl.String, "measure": pl.String, "value": pl.Float64}
VARIANT_REPORT_SCHEMA = {"batch": pl.String, "variant_id": pl.String, "marker": pl.String, "chromosome": pl.String,
                         "position": pl.Int64, "ref": pl.String, "alt": pl.String, "action": pl.String,
                         "reason": pl.String}
#: The coding of a batch is inverted when the frequencies of at least so many markers, all harmonised the same way,
#: correlate so negatively with the panel's.
CORRELATED_MARKERS, INVERTED_CORRELATION = 50, -0.5

_REASONS = ("alleles_differ", "id_of_another_marker", "repeats_another_variant", "palindrome_undecided",
            "placeholder_undecided", "repeated_lines_differ")
_DROPPED, _MATCHED = pl.col("dropped").is_not_null(), pl.col("matched_by").is_not_null()
_KEPT = ~_DROPPED


def batch_report(tables: Mapping[str, GenotypeTable], matches: Mapping[str, pl.DataFrame],
                 repeated: set[str]) -> pl.DataFrame:
    """One row per batch and measure (BATCH_REPORT_SCHEMA), the same measures for every batch, in the order of merging.

    `rank` 1 is the batch that markers have their alleles and ids from first; `frequency_correlation` is that of ALT
    frequencies with the batches before it, at matched markers whose letters are unmistakable.
    """
    others = _batches_of_marker(matches)
    undecidable = pl.col("undecidable")
    counts = {
        "variants": pl.lit(True), "variants_kept": _KEPT,
        "matched_by_position": _KEPT & (pl.col("matched_by") == "position"),
        "matched_by_id": _KEPT & (pl.col("matched_by") == "id"),
        "only_here": _KEPT & (pl.col("n_batches") == 1),
        "swapped": _KEPT & pl.col("swapped"), "flipped": _KEPT & pl.col("flipped"),
        **{f"{kind}_kept": _KEPT & (undecidable == kind) for kind in ("palindrome", "placeholder")},
        **{f"dropped_{reason}": pl.col("dropped") == reason for reason in _REASONS},
    }
    rows = []
    for rank, (name, matched) in enumerate(matches.items(), start=1):
        joined = matched.join(others, on="marker", how="left", maintain_order="left")
        values = joined.select(expression.sum().alias(measure) for measure, expression in counts.items()).row(0)
        measures = {"rank": rank, "lines": tables[name].n_lines,
                    "lines_repeated": sum(line in repeated for line in tables[name].lines),
                    **dict(zip(counts, values, strict=True)), "variants": matched.height,
                    "frequency_correlation": _correlation(_comparable(matched))}
        rows += [(name, measure, value) for measure, value in measures.items()]
    return pl.DataFrame(rows, schema=BATCH_REPORT_SCHEMA, orient="row")


def variant_report(matches: Mapping[str, pl.DataFrame], panel: pl.DataFrame) -> pl.DataFrame:
    """Variants whose calls were dropped or recoded, or that have another name or place in the panel.

    One row each (VARIANT_REPORT_SCHEMA), as the batch describes them; `marker` is the panel's id, null when dropped.
    `action`: dropped | swapped | flipped | flipped_and_swapped | renamed | moved; `reason`: why it was dropped, else
    by what it was matched.
    """
    markers = panel.select(pl.col("marker").cast(pl.Int64), pl.col("variant_id").alias("name"),
                           pl.col("chromosome_key").alias("key"), pl.col("position").alias("place"))
    action = (pl.when(_DROPPED).then(pl.lit("dropped"))
              .when(pl.col("swapped") & pl.col("flipped")).then(pl.lit("flipped_and_swapped"))
              .when("swapped").then(pl.lit("swapped")).when("flipped").then(pl.lit("flipped"))
              .when(pl.col("place") != pl.col("position")).then(pl.lit("moved"))
              .when(pl.col("key").ne_missing(pl.col("chromosome_key"))).then(pl.lit("moved"))
              .when(pl.col("name") != pl.col("variant_id")).then(pl.lit("renamed")))
    return pl.concat([pl.DataFrame(schema=VARIANT_REPORT_SCHEMA)] + [
        matched.join(markers, on="marker", how="left", maintain_order="left").select(
            pl.lit(name).alias("batch"), "variant_id", pl.when(_KEPT).then("name").alias("marker"), "chromosome",
            "position", "ref", "alt", action.alias("action"),
            pl.coalesce("dropped", pl.format("matched_by_{}", "matched_by")).alias("reason"),
        ).filter(pl.col("action").is_not_null()) for name, matched in matches.items()])


def unconnected(matches: Mapping[str, pl.DataFrame]) -> list[Problem]:
    """A problem for every batch none of whose markers another batch has: nothing ties its lines to the others."""
    others = _batches_of_marker(matches)
    alone = [name for name, matched in matches.items()
             if not (matched.filter(_KEPT).join(others, on="marker")["n_batches"] > 1).any()]
    return [Problem(name, "markers that another batch has too, by chromosome, position and alleles or by id",
                    f"none among its {matches[name].height:,} variants",
                    "give the markers the ids or the positions (same assembly) of the other batches") for name in alone]


def inverted(matches: Mapping[str, pl.DataFrame]) -> list[Problem]:
    """A problem for every batch, and way of harmonising, in which ALT frequencies are those of the panel's REF."""
    problems = []
    for name, matched in matches.items():
        for (swapped, flipped), group in _comparable(matched).group_by("swapped", "flipped", maintain_order=True):
            correlation = _correlation(group)
            if correlation is None or correlation > INVERTED_CORRELATION:
                continue
            how = " and ".join(["REF and ALT exchanged"] * bool(swapped) + ["the other strand"] * bool(flipped))
            worst = group.sort((pl.col("here") - pl.col("there")).abs(), descending=True, maintain_order=True).head(3)
            shown = ", ".join(f"{v} {p:.2f} against {q:.2f}" for v, p, q in
                              worst.select("variant_id", "here", "there").iter_rows())
            problems.append(Problem(
                name, "ALT frequencies like those of the other batches at the markers they share",
                f"the opposite (correlation {correlation:.2f}) at {group.height:,} markers with "
                f"{how or 'the same alleles'}: {shown}",
                "its calls count the other allele: export it again with the counted allele as ALT (PLINK: A1), or "
                "exchange REF and ALT of these markers in its file"))
    return problems


def _batches_of_marker(matches: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    return pl.concat([matched.filter(_KEPT).select("marker") for matched in matches.values()]).group_by("marker").agg(
        pl.len().alias("n_batches"))


def _comparable(matched: pl.DataFrame) -> pl.DataFrame:
    """Kept markers whose letters alone decided, with their frequency `here`, as the panel counts it, and `there`."""
    here = pl.when("swapped").then(1 - frequency()).otherwise(frequency())
    return matched.filter(_KEPT & _MATCHED & pl.col("undecidable").is_null()).with_columns(
        here.alias("here"), frequency("_panel").alias("there")).drop_nulls(["here", "there"])


def _correlation(pairs: pl.DataFrame) -> float | None:
    """Correlation of `here` and `there`; None for too few markers, or where either does not vary."""
    here_M, there_M = pairs["here"].to_numpy(), pairs["there"].to_numpy()
    if len(here_M) < CORRELATED_MARKERS or np.ptp(here_M) == 0 or np.ptp(there_M) == 0:
        return None
    return float(np.corrcoef(here_M, there_M)[0, 1])
