"""The genotype batches of a programme as one value, on disk a folder each; what their merge reports as one table."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from genomic_platform.errors import InputError, Notice, Problem, counted
from genomic_platform.genotypes.imputing.imputation import masked_accuracy
from genomic_platform.genotypes.merging.batches import MergedPanel, merge_batches
from genomic_platform.genotypes.panel import known_panel
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.schemas.genotypes import BATCH_REPORT, GENOTYPE_BATCHES

_INDEX = "batches.parquet"
_SAID = {"dropped": "left out, since it does not fit the others", "swapped": "recoded, REF and ALT exchanged",
         "flipped": "read from the other strand", "flipped_and_swapped": "read from the other strand and recoded"}


@dataclass(frozen=True, eq=False)
class GenotypeBatches:
    """Batches as read, by the name of their first file; every one has lines and variants of its own."""

    tables: Mapping[str, GenotypeTable]

    def save(self, folder: Path) -> None:
        """A numbered folder for each batch, and an index with their names."""
        folder.mkdir(parents=True, exist_ok=True)
        places = {name: f"{number:04d}" for number, name in enumerate(self.tables, start=1)}
        for name, table in self.tables.items():
            table.save(folder / places[name])
        GENOTYPE_BATCHES.write(pl.DataFrame({
            "batch": list(self.tables), "folder": list(places.values()),
            "n_lines": [table.n_lines for table in self.tables.values()],
            "n_variants": [table.n_variants for table in self.tables.values()],
        }), folder / _INDEX)

    @classmethod
    def open(cls, folder: Path) -> GenotypeBatches:
        """What `save` wrote."""
        index = GENOTYPE_BATCHES.read(folder / _INDEX)
        return cls({name: GenotypeTable.open(folder / place) for name, place in index.select("batch", "folder").rows()})

    def panel(self, synonyms: Mapping[str, str], later: Collection[str] = ()) -> MergedPanel:
        """The lines a season knows, of all batches, under their stable names.

        What merging decides by frequencies it decides by these lines alone. One batch is taken as it is.

        Parameters
        ----------
        synonyms : other name → line_id.
        later : line ids not known yet.

        Raises
        ------
        InputError
            No genotyped line is known; two samples of a batch are one line; batches do not fit together.
        """
        known = {name: known_panel(table, synonyms, later) for name, table in self.tables.items()
                 if any(synonyms.get(line, line) not in later for line in table.lines)}
        if not known:
            raise InputError([Problem("genotypes", "at least one line that the season knows",
                                      "none: every genotyped line is known from a later season",
                                      "correct known_from in lines.csv", field="lines")])
        return merge_batches(known)


def merge_report(panel: MergedPanel) -> pl.DataFrame:
    """Everything a merge reports, one row a fact (contract BATCH_REPORT)."""
    text = pl.lit(None, dtype=pl.String)
    compared = panel.line_report.select(
        pl.lit("line").alias("kind"), pl.col("batch_1").alias("batch"), pl.col("line_id").alias("id"),
        pl.col("status").alias("measure"), pl.col("concordance").alias("value"),
        pl.format("with {} at {} markers, {} opposite homozygotes; calls kept: {}", "batch_2", "markers",
                  "opposite_homozygotes", pl.col("preferred_batch").fill_null("neither")).alias("detail"))
    changed = panel.variant_report.select(
        pl.lit("variant").alias("kind"), "batch", pl.col("variant_id").alias("id"), pl.col("action").alias("measure"),
        pl.lit(None, dtype=pl.Float64).alias("value"),
        pl.when(pl.col("marker").is_null()).then("reason").otherwise(pl.format("{}: {}", "reason", "marker"))
        .alias("detail"))
    counts = panel.batch_report.select(pl.lit("batch").alias("kind"), "batch", text.alias("id"), "measure", "value",
                                       text.alias("detail"))
    return BATCH_REPORT.conform(pl.concat([counts, changed, compared]))


def imputation_report(panel: GenotypeTable, batches: Mapping[str, GenotypeTable]) -> pl.DataFrame:
    """How well calls missing in each batch could be recovered, by neighbours and by the mean, on hidden known calls.

    Contract BATCH_REPORT; no row where nothing is missing. A line in several batches counts for the last.
    """
    usable_M = panel.variants.select(
        (pl.col("alt_frequency") > 0) & (pl.col("alt_frequency") < 1)).to_series().fill_null(False).to_numpy()
    if panel.variants["call_rate"].min() == 1 or not usable_M.any():
        return BATCH_REPORT.empty()
    batch_of_line = {line: name for name, table in batches.items() for line in table.lines}
    found = masked_accuracy(panel.select(usable_M), "knn", batches=batch_of_line)
    measures = found.drop_nulls("batch").unpivot(["concordance", "dosage_r2"], index=["batch", "method", "calls"])
    return BATCH_REPORT.conform(measures.select(
        pl.lit("batch").alias("kind"), "batch", pl.lit(None, dtype=pl.String).alias("id"),
        pl.format("imputation_{}_{}", "method", "variable").alias("measure"), "value",
        pl.format("{} known calls hidden", "calls").alias("detail")))


def merge_notices(panel: MergedPanel) -> list[Notice]:
    """What a person should know of a merge of several batches."""
    batches = panel.batch_report["batch"].n_unique()
    if batches < 2:
        return []
    repeated = panel.line_report["line_id"].unique(maintain_order=True)
    unlike = panel.line_report.filter(pl.col("status").is_in(["low", "discordant"]))["line_id"].unique(
        maintain_order=True)
    changed = {action: panel.variant_report.filter(pl.col("action") == action)["variant_id"]
               for action in ("dropped", "swapped", "flipped", "flipped_and_swapped")}
    told = [Notice("merged", f"{batches} batches of genotypes merged", batches)]
    told += [Notice(f"variants_{action}", f"{counted(len(ids), 'variant')} of a batch {_SAID[action]}", len(ids),
                    tuple(ids.head(3))) for action, ids in changed.items() if len(ids)]
    if len(repeated):
        told.append(Notice("repeated_lines", f"{counted(len(repeated), 'line')} in several batches, the best call kept",
                           len(repeated), tuple(repeated.head(3))))
    if len(unlike):
        told.append(Notice("unlike_lines", f"{counted(len(unlike), 'line')} that batches call differently, perhaps "
                           "exchanged samples", len(unlike), tuple(unlike.head(3))))
    return told
