"""What would make a validation too good: records of the future, the same line on both sides, features of the outcome.

Each check says what it can and cannot see. `check_known` and `check_features` refuse, since what they find is certain;
the others warn, since biology can look the same. Axes: N lines, M markers.
Reference: Whalen et al. 2022, Nat. Rev. Genet. 23:169-181 (pitfalls: leaked and confounded features).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from genomic_platform.errors import Notice, ProgramError
from genomic_platform.genotypes.quality.duplicates import identical_lines
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.models.scores import correlation

#: Squared correlation with a trait from which a single marker or feature is looked at.
LARGE_R2 = 0.25
#: Standard errors by which a feature must beat the lines' own records of other seasons.
ERRORS_ABOVE = 3.0
EXAMPLES = 5


def check_known(training_set: TrainingSet, seasons: Sequence[str]) -> None:
    """Refuse a training set that holds anything of a season later than its own.

    Sees records and environment features by their season; not a value that was entered under an earlier season.

    Parameters
    ----------
    seasons : labels in calendar order.

    Raises
    ------
    ProgramError : what is later, and of which season.
    """
    place = {season: i for i, season in enumerate(seasons)}
    now = place.get(training_set.season, len(seasons))
    found = {"records": set(training_set.means["last_season"].drop_nulls())}
    if training_set.environment_features is not None:
        found["environment features"] = set(training_set.environment_features["season"])
    late = {what: sorted(s for s in labels if place.get(s, -1) > now) for what, labels in found.items()}
    if said := [f"{what} of {', '.join(labels)}" for what, labels in late.items() if labels]:
        raise ProgramError(f"training set of season {training_set.season} holds {' and '.join(said)}; expected nothing "
                           "later than its season; leave these out")


def check_features(features: pl.DataFrame, trained_through: str, seasons: Sequence[str]) -> None:
    """Refuse features of lines that are known only after the season a prediction is made in.

    Sees what `known_from` says; a feature without it is left to `outcome_features`.

    Parameters
    ----------
    features : line_id, feature, value and, optionally, known_from (season label).

    Raises
    ------
    ProgramError : the features, and from when each is known.
    """
    if "known_from" not in features.columns:
        return
    place = {season: i for i, season in enumerate(seasons)}
    known = features.drop_nulls("known_from").select("feature", "known_from").unique().sort("feature", "known_from")
    late = [f"{feature} (known from {season})" for feature, season in known.iter_rows()
            if place.get(season, -1) > place.get(trained_through, len(seasons))]
    if late:
        raise ProgramError(f"features {', '.join(late)}: known only after season {trained_through}, in which the "
                           "prediction is made; leave them out or score a later season")


def clones_across_folds(genotypes: GenotypeTable, folds: Mapping[str, int | str]) -> list[Notice]:
    """Lines that are the same genotype (IBS > .99) in different folds: each trains the other's prediction.

    Sees copies under other names, however few calls differ up to 1 %. Not copies with more errors, and not phenotypes
    copied between lines whose genotypes differ.
    """
    apart = [sorted(line for line in group if line in folds) for group in identical_lines(genotypes)]
    apart = sorted(group for group in apart if len({folds[line] for line in group}) > 1)
    if not apart:
        return []
    return [Notice("clones_across_folds", f"{sum(map(len, apart))} lines are copies of a line in another fold "
                   "(IBS > .99), which flatters every model; give copies one fold", len(apart),
                   tuple(" = ".join(group) for group in apart[:EXAMPLES]))]


def outcome_markers(genotypes: GenotypeTable, means: pl.DataFrame) -> list[Notice]:
    """Markers made from the outcome: r² with a trait of at least .25, and no other marker as alike to it as the trait.

    A real marker, of a major gene too, has neighbours in linkage disequilibrium or kin markers that resemble it more
    than a trait with its error does; a column computed from the trait has not. Not seen: a marker with r² below .25,
    several copies of a made-up marker (they resemble each other; `duplicate_variants` finds these), a real marker of a
    trait it alone decides on a sparse panel (which warns for nothing).

    Parameters
    ----------
    means : line_id, trait, mean (contract TRAINING_SET).
    """
    found: list[str] = []
    genotyped = means.filter(pl.col("line_id").is_in(genotypes.lines))
    for (trait,), part in genotyped.group_by("trait", maintain_order=True):
        table = genotypes.select(lines=part["line_id"].to_list())
        r2_M = _squared_correlations(table, part["mean"].to_numpy())
        for marker in np.argsort(-r2_M)[:EXAMPLES].tolist():
            if r2_M[marker] < LARGE_R2:
                break
            like_M = _squared_correlations(table, table.dosages([marker], dtype=np.float32)[:, 0])
            like_M[marker] = 0.0
            if like_M.max() < r2_M[marker]:
                found.append(f"{table.variants['variant_id'][marker]} with {trait}, r² {r2_M[marker]:.2f}")
    if not found:
        return []
    return [Notice("outcome_markers", "markers resemble a trait more than any other marker, as one computed from the "
                   "trait would; check where they come from", len(found), tuple(found[:EXAMPLES]))]


def outcome_features(features: pl.DataFrame, observed: pl.DataFrame, earlier: pl.DataFrame) -> list[Notice]:
    """Features of lines made from the outcome, or measured with it: nearer to it than the lines' own earlier records.

    Warns where r² with the outcome is at least .25 and |r| is three standard errors above that of the earlier records
    on the same lines. Sees a column of the season scored, with noise too, and sensors on the plots scored
    (sensor-assisted: no prediction of unphenotyped lines). Not seen: a feature that is no nearer to the outcome than
    earlier records are, and features where lines have no earlier record.

    Parameters
    ----------
    features : line_id, feature, value. observed : line_id, trait, observed. earlier : line_id, trait, mean of records
        known when the prediction is made (contract TRAINING_SET).
    """
    found: list[str] = []
    joined = features.drop_nulls("value").drop_nans("value").join(observed, on="line_id").join(
        earlier.select("line_id", "trait", "mean"), on=["line_id", "trait"])
    for (feature, trait), part in joined.sort("feature", "trait").group_by("feature", "trait", maintain_order=True):
        observed_N = part["observed"].to_numpy()
        r = correlation(part["value"].to_numpy(), observed_N)
        own = correlation(part["mean"].to_numpy(), observed_N)
        if r is None or own is None or r**2 < LARGE_R2:
            continue
        # Fisher's z: its standard error does not depend on r.
        if np.arctanh(min(abs(r), 1 - 1e-9)) - np.arctanh(min(abs(own), 1 - 1e-9)) > \
                ERRORS_ABOVE / np.sqrt(max(part.height - 3, 1)):
            found.append(f"{feature} with {trait}, r {r:.2f} (earlier records {own:.2f})")
    if not found:
        return []
    return [Notice("outcome_features", "features resemble the outcome more than the lines' own earlier records: known "
                   "only with the outcome, or measured on its plots", len(found), tuple(found[:EXAMPLES]))]


def outcome_traits(line_means: pl.DataFrame) -> list[Notice]:
    """Traits that hold a later harvest of another, by `outcome_features`: a season's records of one against each later
    harvest of the others. A model of several traits learns from such a column what only the harvest says.

    Not seen: a column that is no nearer to the harvest than the other trait's own earlier records are.

    Parameters
    ----------
    line_means : contract LINE_MEANS.
    """
    found: list[Notice] = []
    for season in line_means["season"].unique().sort():
        harvest = _averages(line_means.filter(pl.col("season") == season), "observed")
        before = line_means.filter(pl.col("season") < season)
        for (trait,), part in before.group_by("trait", maintain_order=True):
            recorded = _averages(part, "value", "season").select(
                "line_id", "value", feature=pl.format("{} of {}", "trait", "season"))
            found += outcome_features(recorded, harvest.filter(pl.col("trait") != trait), _averages(before, "mean"))
    return found


def _averages(line_means: pl.DataFrame, name: str, *within: str) -> pl.DataFrame:
    return line_means.group_by("line_id", "trait", *within).agg(pl.col("centred").mean().alias(name))


def _squared_correlations(table: GenotypeTable, value_N: np.ndarray) -> np.ndarray:
    """r² of every marker with a value of the lines, shape (M,); missing at the mean, 0 where nothing varies."""
    centred_N = np.nan_to_num(value_N - np.nanmean(value_N)).astype(np.float64)
    square = float(centred_N @ centred_N)
    r2_M = np.zeros(table.n_variants)
    for start, block_mN in table.blocks():
        dosage_mN = np.where(block_mN < 0, np.nan, block_mN)
        called_m = np.maximum((block_mN >= 0).sum(axis=1), 1)
        dosage_mN = np.nan_to_num(dosage_mN - (np.nansum(dosage_mN, axis=1) / called_m)[:, None])
        variance_m = np.einsum("mn,mn->m", dosage_mN, dosage_mN) * square
        r2_M[start : start + len(block_mN)] = np.divide(
            (dosage_mN @ centred_N) ** 2, variance_m, out=np.zeros(len(block_mN)), where=variance_m > 1e-12)
    return r2_M
