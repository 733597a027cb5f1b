"""Which recipe a trait starts with, whether a refit takes over, whether another recipe replaces it: the decisions.

The first season of a trait compares recipes by folds inside its training set (`initial`). After that a challenger that
`gate` has shown to be better replaces the recipe (`replace`); else the same recipe, refitted, is promoted after sanity
checks (`refresh`), else the predecessor stays (`keep`); a pin or manual approval lets either wait. Reasons in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from genomic_platform.errors import NotAvailable
from genomic_platform.genotypes.quality.duplicates import identical_lines
from genomic_platform.models.cross_validation import cross_validate, fold_abilities, within_fold_ability
from genomic_platform.models.folds import FOLDS, SEED, random_folds
from genomic_platform.models.protocol import Model, TrainingSet
from genomic_platform.models.scores import correlation
from genomic_platform.schemas.predictions import MODEL_COMPARISON, RECIPE_DIFFERENCES, REGISTERED_MODEL

#: Folds use at most this many lines, drawn at random: a difference between recipes shows long before, and the cost
#: of a fold grows with the cube of the lines.
FOLD_LINES = 1_000
#: Lines × replicates that are enough: with many lines one division into folds says as much as several do with few.
FOLD_PREDICTIONS = 2_000
#: With fewer forward seasons a comparison speaks of these seasons only.
FEW_SEASONS = 3


@dataclass(frozen=True)
class Candidate:
    """A recipe refitted at a season.

    Attributes
    ----------
    values : contract VALUES of all lines known at the season. model_version : content digest of its parameters.
    """

    recipe: str
    model_version: str
    values: pl.DataFrame


@dataclass(frozen=True)
class SanityLimits:
    """When a refitted model may not replace its predecessor.

    Attributes
    ----------
    range_multiple : largest range of its genotypic values, as a multiple of the range of the training means.
    min_correlation : smallest r with the predecessor's genotypic values over the lines both have. A second season that
        triples the lines gave .34 on real data, a turned coding gives a negative one.
    """

    range_multiple: float = 1.5
    min_correlation: float = 0.2


def compare_by_folds(training_set: TrainingSet, recipes: Mapping[str, Model], *, replicates: int = 2, seed: int = SEED,
                     max_lines: int = FOLD_LINES, clones: Iterable[set[str]] | None = None) -> pl.DataFrame:
    """Recipes compared on the same five folds of lines inside the training set (contract MODEL_COMPARISON, cv1).

    Parameters as of `fold_predictions`.
    """
    return score_folds(fold_predictions(training_set, recipes, replicates=replicates, seed=seed, max_lines=max_lines,
                                        clones=clones), training_set.season)


def fold_predictions(training_set: TrainingSet, recipes: Mapping[str, Model], *, replicates: int = 2, seed: int = SEED,
                     max_lines: int = FOLD_LINES, clones: Iterable[set[str]] | None = None) -> pl.DataFrame:
    """Every line predicted by each recipe from the other four folds of lines (columns as of `cross_validate`).

    Parameters
    ----------
    replicates : divisions into folds, at most; fewer (at least one) so that lines × replicates stay within 2,000.
    max_lines : genotyped lines, which are divided, and as many others, which always train.
    clones : groups of identical lines, which share a fold; None = found by IBS > .99, () = none.
    """
    genotyped, tried = set(training_set.genotypes.lines), set(training_set.means["line_id"])
    lines, others = (_at_most(max_lines, part, seed) for part in (tried & genotyped, tried - genotyped))
    training_set = replace(training_set, means=training_set.means.filter(pl.col("line_id").is_in(lines + others)))
    groups = list(identical_lines(training_set.genotypes) if clones is None else clones)
    enough = max(1, min(replicates, FOLD_PREDICTIONS // max(len(lines), 1)))
    n_folds = min(FOLDS, len(lines))
    divisions = [random_folds(lines, r, n_folds=n_folds, seed=seed, clones=groups) for r in range(enough)]
    return cross_validate(training_set, recipes, divisions)


def score_folds(predictions: pl.DataFrame, season: str) -> pl.DataFrame:
    """Scores of `fold_predictions` inside the training set of a season (contract MODEL_COMPARISON, cv1)."""
    rows = []
    for (recipe, trait), part in predictions.group_by("recipe", "trait", maintain_order=True):
        r_mean, r_sd = within_fold_ability(fold_abilities(part))
        rows.append({"trait": trait, "recipe": recipe, "scheme": "cv1", "season": season, "trained_through": season,
                     "r_mean": r_mean, "r_sd": r_sd, "n_lines": part["line_id"].n_unique()})
    return MODEL_COMPARISON.conform(pl.DataFrame(rows, schema=MODEL_COMPARISON.schema))


def _at_most(most: int, lines: set[str], seed: int) -> list[str]:
    """The lines, sorted; where there are more, some of them by lot."""
    ids = sorted(lines)
    if len(ids) <= most:
        return ids
    return sorted(ids[i] for i in np.random.default_rng(seed).permutation(len(ids))[:most])


def decide(training_set: TrainingSet, comparison: pl.DataFrame, candidates: Sequence[Candidate], *,
           previous: pl.DataFrame | None = None, previous_values: pl.DataFrame | None = None,
           limits: SanityLimits | None = None, differences: pl.DataFrame | None = None,
           pins: Mapping[str, str] | None = None, manual: bool = False,
           setbacks: Mapping[str, tuple[Mapping[str, Any], str]] | None = None) -> pl.DataFrame:
    """The decision on every trait of a season (contract REGISTERED_MODEL).

    Parameters
    ----------
    comparison : contract MODEL_COMPARISON of this season (first season of a trait; later it may be empty).
    candidates : every recipe refitted at this season.
    previous : the preceding season's decisions, None for the first season. previous_values : contract VALUES that
        the champions of `previous` give.
    differences : contract RECIPE_DIFFERENCES, challengers against the champions of `previous`; None = no evidence.
    pins : trait → why its champion may not change: what would take over waits as `proposed`.
    manual : every promotion after the first waits for a person (`pending`).
    setbacks : trait → (earlier champion's row, why it comes back): `rollback`, unless the champion is pinned.

    Raises
    ------
    NotAvailable : no candidate for a trait, or the champion's recipe is not among the candidates.
    """
    limits = limits or SanityLimits()
    evidence = RECIPE_DIFFERENCES.empty() if differences is None else differences
    champions = {} if previous is None else {row["trait"]: row for row in previous.iter_rows(named=True)}
    rows = []
    for trait in training_set.traits:
        scores = comparison.filter((pl.col("trait") == trait) & (pl.col("scheme") == "cv1"))
        if trait in champions:
            renewed = _renew(training_set, trait, champions[trait], candidates, scores, previous_values, limits,
                             evidence.filter(pl.col("trait") == trait))
            pin = (pins or {}).get(trait)
            back = (setbacks or {}).get(trait)
            rows.append(_gone_back(renewed, *back) if back and not pin
                        else _held_back(renewed, champions[trait], pin, manual))
        else:
            rows.append(_first(training_set, trait, candidates, scores))
    # A trait that is absent this season keeps its champion.
    rows += [champion | {"season": training_set.season, "decision": "keep", "proposed": None,
              "reasons": ["no record of the trait yet"]}
             for trait, champion in champions.items() if trait not in training_set.traits]
    return REGISTERED_MODEL.conform(pl.DataFrame(rows, schema=REGISTERED_MODEL.schema))


def _first(training_set: TrainingSet, trait: str, candidates: Sequence[Candidate],
           scores: pl.DataFrame) -> dict[str, object]:
    ranked = _ranked(scores, candidates)
    if not ranked:
        raise NotAvailable(f"{trait}: no candidate model in season {training_set.season}; expected at least one recipe")
    best, r_best = ranked[0]
    reasons = [f"first season of the trait: {best.recipe} has the best mean over folds inside the training set, "
               f"r = {_number(r_best)}"]
    reasons += [f"{other.recipe}: r = {_number(r)}" for other, r in ranked[1:]]
    return _row(training_set, trait, "initial", best, ranked[1][0].recipe if len(ranked) > 1 else None, reasons)


def _renew(training_set: TrainingSet, trait: str, champion: Mapping[str, object], candidates: Sequence[Candidate],
           scores: pl.DataFrame, previous_values: pl.DataFrame | None, limits: SanityLimits,
           evidence: pl.DataFrame) -> dict[str, Any]:
    refit = next((c for c in candidates if c.recipe == champion["recipe"]), None)
    if refit is None:
        raise NotAvailable(f"{trait}: champion recipe {champion['recipe']} was not refitted in season "
                           f"{training_set.season}; add it to the recipes of program.toml")
    verdicts = verdict(evidence)
    means = evidence.filter(pl.col("level") == "mean").drop_nulls("difference")
    gain = dict(means.select("challenger", "difference").iter_rows())
    others = sorted((c for c, _ in _ranked(scores, candidates) if c.recipe != refit.recipe),
                    key=lambda c: gain.get(c.recipe, -np.inf), reverse=True)
    challenger = others[0].recipe if others else None
    said = [words for _, words in verdicts.values()]
    for winner in (c for c in others if verdicts.get(c.recipe, (False, ""))[0]):
        faults, passed = _sanity(training_set, trait, winner, previous_values, limits)
        if not faults:
            return _row(training_set, trait, "replace", winner, refit.recipe,
                        [verdicts[winner.recipe][1], f"{winner.recipe} fitted on records through "
                         f"{training_set.season}", *passed, *(w for w in said if w != verdicts[winner.recipe][1])])
        said += [f"{winner.recipe} won but is not promoted: {fault}" for fault in faults]
    faults, passed = _sanity(training_set, trait, refit, previous_values, limits)
    if faults:
        return {**champion, "season": training_set.season, "decision": "keep", "challenger": challenger,
                "proposed": None,
                "reasons": [*(f"refitted {refit.recipe} not promoted: {fault}" for fault in faults), *said]}
    return _row(training_set, trait, "refresh", refit, challenger,
                [f"{refit.recipe} refitted on records through {training_set.season}", *passed, *said])


def verdict(evidence: pl.DataFrame) -> dict[str, tuple[bool, str]]:
    """Challenger → whether it replaces the champion's recipe, and why or why not in words with numbers.

    Parameters
    ----------
    evidence : one trait's rows of RECIPE_DIFFERENCES.
    """
    found = {}
    for row in evidence.filter(pl.col("level") == "mean").iter_rows(named=True):
        own = evidence.filter(pl.col("challenger") == row["challenger"])
        seasons = own.filter(pl.col("level") == "season").sort("label")
        harmed = own.filter(pl.col("level").is_in(["environment", "family"]), ~pl.col("passes"))["label"].to_list()
        if row["difference"] is None or not row["n_seasons"]:
            found[row["challenger"]] = (False, f"{row['challenger']}: no season with enough lines to compare on")
            continue
        by_season = ", ".join(f"{s['label']} {_signed(s['difference'])}" for s in seasons.iter_rows(named=True))
        words = (f"{row['challenger']} against {row['champion']}: {_signed(row['difference'])} in r (standard error "
                 f"{_number(row['standard_error'])}, lower bound {_signed(row['lower'])}; {by_season})")
        if harmed:
            words += f"; it does worse in {', '.join(harmed)}"
        if row["n_seasons"] < FEW_SEASONS:
            words += "; conditional on these seasons, since fewer than three say nothing of how seasons differ"
        found[row["challenger"]] = (bool(row["passes"]) and not harmed, words)
    return found


def _gone_back(renewed: dict[str, Any], earlier: Mapping[str, Any], why: str) -> dict[str, Any]:
    """The earlier champion again; what was refitted waits as `proposed`."""
    return {**earlier, "season": renewed["season"], "decision": "rollback", "challenger": renewed["challenger"],
            "proposed": renewed["recipe"] if renewed["decision"] != "keep" else None,
            "reasons": [why, f"{earlier['recipe']} trained through {earlier['trained_through']} is champion again, "
                             "and pinned until `genomic-platform approve`", *renewed["reasons"]]}


def _held_back(renewed: dict[str, Any], champion: Mapping[str, Any], pin: str | None, manual: bool) -> dict[str, Any]:
    """The decision, unless a rollback pins the champion or a person has to agree: then it waits as `proposed`."""
    if renewed["decision"] == "keep" or not (pin or manual):
        return renewed
    why = f"pinned: {pin}" if pin else "the programme asks for approval of every promotion"
    return {**champion, "season": renewed["season"], "decision": "keep" if pin else "pending",
            "challenger": renewed["challenger"], "proposed": renewed["recipe"],
            "reasons": [f"{why}; {renewed['recipe']} fitted through {renewed['season']} waits for "
                        "`genomic-platform approve`", *renewed["reasons"]]}


def _sanity(training_set: TrainingSet, trait: str, refit: Candidate, previous_values: pl.DataFrame | None,
            limits: SanityLimits) -> tuple[list[str], list[str]]:
    """What forbids the refit, and what was found in order; both in words with numbers."""
    values = _of_trait(refit.values, trait)
    new_N = values["genotypic_value"].to_numpy()
    if not np.isfinite(new_N).all() or not np.isfinite(values["breeding_value"].to_numpy()).all():
        return [f"{int((~np.isfinite(new_N)).sum())} of {len(new_N)} values are not finite"], []
    trained = training_set.means.filter(pl.col("trait") == trait)["mean"].to_numpy()
    faults, passed = [], ["all values finite"]
    ratio = float(np.ptp(new_N)) / spread if len(trained) and (spread := float(np.ptp(trained))) > 0 else 0.0
    said = f"range of values is {ratio:.2f} of the training means' (limit {limits.range_multiple:g})"
    (passed if ratio <= limits.range_multiple else faults).append(said)
    if previous_values is None:
        return faults, passed
    both = _of_trait(previous_values, trait).join(values, on="line_id", how="left", suffix="_new")
    lost = both.filter(pl.col("genotypic_value_new").is_null())["line_id"].sort()
    if lost.len():
        faults.append(f"{lost.len()} lines of the predecessor have no value (for example {', '.join(lost.head(3))})")
    both = both.drop_nulls("genotypic_value_new")
    r = correlation(both["genotypic_value_new"].to_numpy(), both["genotypic_value"].to_numpy())
    if r is None:
        flat = new_N.size and np.ptp(new_N) == 0 and both.height > 2 and np.ptp(both["genotypic_value"].to_numpy()) > 0
        said = f"correlation with the predecessor cannot be had over {both.height} common lines"
        (faults if flat else passed).append(said + (": all its values are equal" if flat else ""))
    else:
        said = (f"correlation with the predecessor's values is {r:.3f} over {both.height} common lines "
                f"(limit {limits.min_correlation:g})")
        (passed if r >= limits.min_correlation else faults).append(said)
    return faults, passed


def _ranked(scores: pl.DataFrame, candidates: Sequence[Candidate]) -> list[tuple[Candidate, float | None]]:
    """Candidates by fold mean, best first; those without one last, in the order given."""
    found = dict(scores.select("recipe", "r_mean").iter_rows())
    pairs = [(c, found.get(c.recipe)) for c in candidates]
    return sorted(pairs, key=lambda pair: -np.inf if pair[1] is None else pair[1], reverse=True)


def _row(training_set: TrainingSet, trait: str, decision: str, candidate: Candidate, challenger: str | None,
         reasons: Sequence[str]) -> dict[str, Any]:
    n_train = training_set.means.filter((pl.col("trait") == trait) & pl.col("genotyped")).height
    return {"trait": trait, "season": training_set.season, "decision": decision, "recipe": candidate.recipe,
            "challenger": challenger, "proposed": None, "trained_through": training_set.season,
            "model_version": candidate.model_version, "n_train": n_train, "reasons": list(reasons)}


def _of_trait(values: pl.DataFrame, trait: str) -> pl.DataFrame:
    return (values.filter((pl.col("trait") == trait) & pl.col("environment").is_null())
            .select("line_id", "breeding_value", "genotypic_value"))


def _signed(r: float | None) -> str:
    return "not to be had" if r is None else f"{r:+.3f}"


def _number(r: float | None) -> str:
    return "not to be had" if r is None else f"{r:.3f}"
