"""What trains and what is scored, by scheme: the splits of a programme's line means.

    cv1          folds of lines, held out of all environments
    cv2          folds of line × environment cells; the line is seen in other environments
    cv0          a season left out, its lines seen in other seasons ("known")
    cv00         a season left out and, fold by fold, its lines too ("new")
    forward      trained on earlier seasons only
    environment  an environment left out, all its lines scored
    location     a location left out, all its lines scored
    family       a family left out
    hybrid       a fifth of the parents left out, with every line of theirs: T1 and T0 (cv1 mostly scores T2)

Predicting belongs to `cross_validation`, scoring to `ability`. Reference: Burgueño et al. 2012, Crop Sci. 52:707-719.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from genomic_platform.errors import ProgramError
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.folds import FOLDS, cell_folds, fold_members, random_folds
from genomic_platform.models.leaks import check_known
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.models.scores import MIN_FAMILY
from genomic_platform.phenotypes.environments import environment_features
from genomic_platform.phenotypes.training_means import training_means

SCHEMES = ("cv1", "cv2", "cv0", "cv00", "forward", "environment", "location", "family", "hybrid")
#: Schemes scored against line means over environments; the others against cells, within each environment.
ON_LINE_MEANS = ("cv1", "family", "hybrid")
Folds = Mapping[str, int | str]


@dataclass(frozen=True)
class Study:
    """What every split of an evaluation is made from.

    Attributes
    ----------
    line_means : contract LINE_MEANS of the traits evaluated.
    means, weights : stage one, as `training_means` takes them.
    seasons : labels in calendar order. families : line → family. parents : line → its two parents.
    clones : groups of identical lines, which share a fold. pedigree : contract PEDIGREE, or None.
    environments : contract ENVIRONMENT_RECORDS of all environments of `line_means`, or None.
    """

    genotypes: GenotypeTable
    relationship_NN: np.ndarray
    line_means: pl.DataFrame
    means: str
    weights: str
    seasons: Sequence[str]
    families: Mapping[str, str | None] = field(default_factory=dict)
    parents: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    clones: Sequence[set[str]] = ()
    pedigree: pl.DataFrame | None = None
    environments: pl.DataFrame | None = None

    @property
    def phenotyped(self) -> list[str]:
        """Lines with genotype and phenotype, sorted."""
        return sorted(set(self.line_means["line_id"]) & set(self.genotypes.lines))

    def training_set(self, line_means: pl.DataFrame) -> TrainingSet:
        """Stage one on some of the line means."""
        means, _ = training_means(line_means, means=self.means, weights=self.weights, genotyped=self.genotypes.lines)
        seen = [season for season in self.seasons if season in set(line_means["season"])]
        return TrainingSet(seen[-1] if seen else "", means, self.genotypes, self.relationship_NN,
                           families=self.families if any(self.families.values()) else None, line_means=line_means,
                           pedigree=self.pedigree, environment_features=self._features(line_means))

    def _features(self, line_means: pl.DataFrame) -> pl.DataFrame | None:
        """Covariates that vary between the environments of some line means (contract ENVIRONMENT_FEATURES)."""
        if self.environments is None:
            return None
        return environment_features(self.environments.filter(
            pl.col("environment").is_in(line_means["environment"].unique().to_list())))

    def covariates(self, train: pl.DataFrame, test: pl.DataFrame) -> pl.DataFrame | None:
        """Records of the environments of `test`, of the covariates that vary in `train`; None where none does."""
        known = self._features(train)
        if self.environments is None or known is None or known.is_empty():
            return None
        return self.environments.filter(pl.col("environment").is_in(test["environment"].unique().to_list()),
                                        pl.col("variable").is_in(known["feature"].unique().to_list()))

    def large_families(self) -> dict[str, list[str]]:
        """Families of at least ten lines with genotype and phenotype."""
        members: dict[str, list[str]] = {}
        for line in self.phenotyped:
            if family := self.families.get(line):
                members.setdefault(family, []).append(line)
        return {family: lines for family, lines in sorted(members.items()) if len(lines) >= MIN_FAMILY}


@dataclass(frozen=True)
class Split:
    """One training set and what is scored with it.

    Attributes
    ----------
    observed : line_id, trait, environment (null = the line's mean), observed, error_variance (null = not known).
    unit : what was left out, as it is shown; None where the scheme has nothing but lines.
    only : `known` or `new` lines of the trait alone are scored; None = all.
    on_means : predictions are intercept + genotypic value, on the scale of the line means; else deviations, genotypic
        of known lines and breeding values of new ones.
    environments : covariates of the environments scored, where the scheme takes them as known; None = it does not, or
        there are none.
    stands_for : trait of the training set → (trait, unit), where environments are trained as traits of their own.
    """

    training_set: TrainingSet
    observed: pl.DataFrame
    replicate: int = 0
    fold: int = 0
    unit: str | None = None
    only: str | None = None
    on_means: bool = False
    stands_for: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    environments: pl.DataFrame | None = None


def splits(study: Study, scheme: str, *, replicates: int = 10, folds: Folds | None = None,
           within_environment: bool = False) -> Iterator[Split]:
    """Every split of a scheme, in an order that does not change; parameters as `evaluate` takes them."""
    if scheme == "cv1":
        divisions = [folds] if folds is not None else _divisions(study, replicates)
        return _line_folds(study, divisions, within_environment)
    if scheme == "cv2":
        return _cells(study, replicates)
    if scheme in ("cv0", "cv00", "forward"):
        return _seasons(study, scheme, _divisions(study, replicates) if scheme == "cv00" else [])
    if scheme in ("environment", "location"):
        return _places(study, scheme)
    return _families(study) if scheme == "family" else _hybrids(study, replicates)


def _divisions(study: Study, replicates: int) -> list[Folds]:
    return [dict(random_folds(study.phenotyped, r, clones=study.clones)) for r in range(replicates)]


def _line_folds(study: Study, divisions: Sequence[Folds], within_environment: bool) -> Iterator[Split]:
    whole, stands_for = study.training_set(study.line_means), {}
    if within_environment:
        whole, stands_for = _environments_as_traits(study)
    for replicate, folds in enumerate(divisions):
        for fold, members in enumerate(fold_members(folds)):
            yield from _without(study, whole, members, replicate, fold, stands_for)


def _without(study: Study, whole: TrainingSet, members: Sequence[str], replicate: int, fold: int,
             stands_for: Mapping[str, tuple[str, str]] | None = None, left_out: Sequence[str] = ()) -> Iterator[Split]:
    """The lines `members` scored from line means that hold neither them nor `left_out`."""
    means = whole.means
    held_out = pl.col("line_id").is_in([*members, *left_out])
    observed = means.filter(pl.col("line_id").is_in(members)).select(
        "line_id", "trait", pl.lit(None, pl.String).alias("environment"), observed="mean",
        error_variance="error_variance")
    train = means.filter(~held_out)
    if train.is_empty() or observed.is_empty():
        return
    # Cells of one division say how lines do within environments, at a row per line and environment.
    if replicate == 0 and not stands_for and study.line_means["environment"].n_unique() > 1:
        observed = pl.concat([observed, _scored_cells(study.line_means.filter(pl.col("line_id").is_in(members)))])
    yield Split(replace(whole, means=train), observed, replicate, fold, on_means=True, stands_for=stands_for or {})


def _environments_as_traits(study: Study) -> tuple[TrainingSet, dict[str, tuple[str, str]]]:
    """Each environment's means as traits of their own, so that they share decompositions; and what each stands for."""
    parts, stands_for = [], {}
    for (environment,), records in study.line_means.group_by("environment", maintain_order=True):
        means = study.training_set(records).means
        keys = {trait: f"{trait}\t{environment}" for trait in means["trait"].unique()}
        stands_for |= {key: (trait, str(environment)) for trait, key in keys.items()}
        parts.append(means.with_columns(pl.col("trait").replace_strict(keys, return_dtype=pl.String)))
    return replace(study.training_set(study.line_means), means=pl.concat(parts)), stands_for


def _cells(study: Study, replicates: int) -> Iterator[Split]:
    genotyped = study.line_means.filter(pl.col("line_id").is_in(study.phenotyped))
    for replicate in range(replicates):
        folds = cell_folds(genotyped.select("line_id", "environment").unique(), replicate, clones=study.clones)
        divided = study.line_means.join(folds, on=["line_id", "environment"], how="left", maintain_order="left")
        for fold in range(int(folds["fold"].max()) + 1):  # type: ignore[arg-type]
            held_out = (pl.col("fold") == fold).fill_null(False)
            train, test = divided.filter(~held_out).drop("fold"), divided.filter(held_out)
            yield Split(study.training_set(train), _scored_cells(test), replicate, fold, only="known",
                        environments=study.covariates(train, test))


def _seasons(study: Study, scheme: str, divisions: Sequence[Folds]) -> Iterator[Split]:
    records = study.line_means
    for place, season in enumerate(study.seasons):
        others = study.seasons[:place] if scheme == "forward" else [s for s in study.seasons if s != season]
        train, test = records.filter(pl.col("season").is_in(others)), records.filter(pl.col("season") == season)
        if train.is_empty() or test.is_empty():
            continue
        unit = ", ".join(test["environment"].unique().sort())
        if scheme != "cv00":
            training_set = study.training_set(train)
            if scheme == "forward":
                check_known(training_set, study.seasons)
            yield Split(training_set, _scored_cells(test), unit=unit, only="known" if scheme == "cv0" else None,
                        environments=study.covariates(train, test) if scheme == "cv0" else None)
        for replicate, folds in enumerate(divisions):
            for fold, members in enumerate(fold_members(folds)):
                held_out = pl.col("line_id").is_in(members)
                yield Split(study.training_set(train.filter(~held_out)), _scored_cells(test.filter(held_out)),
                            replicate, fold, unit, environments=study.covariates(train, test))


def _places(study: Study, column: str) -> Iterator[Split]:
    for fold, place in enumerate(sorted(set(study.line_means[column]))):
        test, train = study.line_means.filter(pl.col(column) == place), study.line_means.filter(pl.col(column) != place)
        yield Split(study.training_set(train), _scored_cells(test), fold=fold, unit=place,
                    environments=study.covariates(train, test))


def _families(study: Study) -> Iterator[Split]:
    whole = study.training_set(study.line_means)
    for fold, (family, members) in enumerate(study.large_families().items()):
        # its lines without genotypes would teach through the pedigree
        left_out = [line for line, own in study.families.items() if own == family]
        yield from _without(study, whole, members, 0, fold, left_out=left_out)


def _hybrids(study: Study, replicates: int) -> Iterator[Split]:
    """Lines of the fold's parents are scored; nothing of the fold's parents, nor they themselves, train."""
    whole = study.training_set(study.line_means)
    lines = [line for line in study.phenotyped if None not in study.parents.get(line, (None, None))]
    parents = {parent for line in lines for parent in study.parents[line] if parent}
    for replicate in range(replicates):
        folds = random_folds(parents, replicate, n_folds=min(FOLDS, len(parents)), clones=study.clones)
        for fold, left_out in enumerate(fold_members(folds)):
            members = [line for line in lines if set(study.parents[line]) & set(left_out)]
            offspring = [line for line, own in study.parents.items() if set(own) & set(left_out)]
            yield from _without(study, whole, members, replicate, fold, left_out=[*left_out, *offspring])


def _scored_cells(line_means: pl.DataFrame) -> pl.DataFrame:
    return line_means.select("line_id", "trait", "environment", observed="centred",
                             error_variance=pl.lit(None, pl.Float64))


def check_scheme(study: Study, scheme: str, folds: object = None, within_environment: bool = False) -> None:
    """Raise ProgramError when the line means do not hold what the scheme needs, or options do not go with it."""
    if scheme not in SCHEMES:
        raise ProgramError(f"scheme is '{scheme}'; expected one of {', '.join(SCHEMES)}")
    if scheme != "cv1" and (folds is not None or within_environment):
        raise ProgramError(f"scheme {scheme}: published folds and within_environment go with cv1 only")
    needs = {"cv2": "environment", "cv0": "season", "cv00": "season", "forward": "season",
             "environment": "environment", "location": "location"}
    if (column := needs.get(scheme)) and (found := study.line_means[column].n_unique()) < 2:
        raise ProgramError(f"scheme {scheme} needs at least two {column}s; found {found}")
    if scheme == "family" and (found := len(study.large_families())) < 2:
        raise ProgramError(f"scheme family needs at least two families of {MIN_FAMILY} lines with genotype and "
                           f"phenotype; found {found}; give the column family in lines.csv")
    if scheme == "hybrid" and not any(None not in study.parents.get(x, (None,)) for x in study.phenotyped):
        raise ProgramError("scheme hybrid needs the two parents of the lines; found none; give the columns parent_1 "
                           "and parent_2 in lines.csv")
