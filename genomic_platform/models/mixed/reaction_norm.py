"""The reaction norm: line means of all environments in one model, lines' responses to environments as random terms.

y = μ + E + W + G + L + G×E + G×W + C + e (Jarquín et al. 2014, Theor. Appl. Genet. 127:595-607), any of:

    environment              E, Var = σ² I over environments
    environment_covariates   W, Var = σ² Ω, Ω a kernel of environments from their covariates
    line                     G, Var = σ² K, the genomic relationship
    line_residual            L, Var = σ² I over lines: what K leaves of a line in all its environments
    line_by_environment      G×E, Var = σ² Z K Z' ∘ Z_e Z_e', a line's own deviation in each environment
    line_by_covariates       G×W, Var = σ² Z K Z' ∘ Z_e Ω Z_e', alike in environments that are alike
    cell                     Var = σ² I over lines in environments: what is left beside errors known from stage one

It is the single-stage model of environment records; the two-stage one is `trait_fit` on `training_means`. Kernels of
environments are made elsewhere. Axes: N records, L lines, E environments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from genomic_platform.errors import Notice, ProgramError
from genomic_platform.models.mixed.model import MixedFit, fit_mixed
from genomic_platform.models.mixed.terms import Term

WITHOUT_COVARIATES = ("environment", "line", "line_residual", "line_by_environment")
WITH_COVARIATES = ("environment", "environment_covariates", "line", "line_residual", "line_by_covariates")
OF_ENVIRONMENTS = ("environment", "environment_covariates")
_UNRELATED_LINES = ("line_residual", "cell")
ADDITIVE = ("line", "line_by_environment", "line_by_covariates")
WEIGHTS = ("auto", "errors", "records", "none")
#: Records above which N² numbers for each term are more than a small machine holds.
MOST_RECORDS = 12_000


@dataclass(frozen=True, eq=False)
class ReactionNorm:
    """A fitted reaction norm of one trait.

    Attributes
    ----------
    lines, environments : all that can be predicted, in the order of their kernels. fit : components, fixed effects.
    notices : of the fit, and `not_genotyped`: records of lines without a relationship, which are left out.
    """

    lines: tuple[str, ...]
    environments: tuple[str, ...]
    fit: MixedFit
    notices: tuple[Notice, ...]

    def predict(self, environment: str | Mapping[str, float]) -> pl.DataFrame:
        """Values of all lines in an environment, or over target environments with weights (scaled to sum to 1).

        Returns
        -------
        line_id, breeding_value (G + G×E + G×W, deviation from the average line), its reliability, genotypic_value
        (with L and C), its reliability, environment_mean (μ̂ + E + W, trait's unit).

        Raises
        ------
        ProgramError : an environment that the kernels do not have, weights below 0 or none above.
        """
        weight_E = self._weights(environment)
        over = replace(self.fit, terms=tuple(_with_target(term, weight_E) for term in self.fit.terms))
        n, target = len(self.lines), len(self.environments)
        points = {"line": np.arange(n), "environment": np.full(n, target)}
        names = [term.name for term in self.fit.terms]
        breeding = over.predict(points, [name for name in names if name in ADDITIVE])
        genotypic = over.predict(points, [name for name in names if name not in OF_ENVIRONMENTS])
        place = over.predict({by: at[:1] for by, at in points.items()}, [n for n in names if n in OF_ENVIRONMENTS])
        return pl.DataFrame({
            "line_id": self.lines, "breeding_value": breeding.value_Q,
            "breeding_value_reliability": breeding.reliability_Q, "genotypic_value": genotypic.value_Q,
            "genotypic_value_reliability": genotypic.reliability_Q,
            "environment_mean": np.full(n, self.fit.effect_F[0] + place.value_Q[0])})

    def line_weights(self, environment: str | Mapping[str, float]) -> np.ndarray:
        """w, shape (L,): breeding values are K w, and effects of markers follow from it by back-solution."""
        weight_E, weight_L = self._weights(environment), np.zeros(len(self.lines))
        line_N, environment_N = self.fit.points["line"], self.fit.points["environment"]
        for term in self.fit.terms:
            if term.name in ADDITIVE:
                share_E = weight_E @ term.kernels.get("environment", np.ones((len(weight_E), len(weight_E))))
                weight_L += self.fit.variance[term.name] * np.bincount(
                    line_N, share_E[environment_N] * self.fit.at.projected_N, minlength=len(self.lines))
        return weight_L

    def with_lines(self, names: Sequence[str], cross_QL: np.ndarray, own_Q: np.ndarray) -> ReactionNorm:
        """The same model with further lines to predict, by their K with the lines so far and with themselves."""
        terms = tuple(_bordered(term, "line", cross_QL, np.diag(own_Q), term.name in _UNRELATED_LINES)
                      for term in self.fit.terms)
        return replace(self, lines=(*self.lines, *names), fit=replace(self.fit, terms=terms))

    def with_environments(self, names: Sequence[str], cross_AE: np.ndarray, own_AA: np.ndarray) -> ReactionNorm:
        """The same model with further environments to predict, by their Ω with those so far and among themselves."""
        terms = tuple(_bordered(term, "environment", cross_AE, own_AA, not term.name.endswith("_covariates"))
                      for term in self.fit.terms)
        return replace(self, environments=(*self.environments, *names), fit=replace(self.fit, terms=terms))

    def _weights(self, environment: str | Mapping[str, float]) -> np.ndarray:
        wanted = {environment: 1.0} if isinstance(environment, str) else dict(environment)
        if unknown := sorted(set(wanted) - set(self.environments)):
            raise ProgramError(f"environment never seen: {', '.join(unknown)}; expected some of "
                               f"{', '.join(self.environments)}, or fit with a kernel that has it")
        weight_E = np.array([wanted.get(name, 0.0) for name in self.environments])
        if (weight_E < 0).any() or not weight_E.sum() > 0:
            raise ProgramError("weights of target environments: expected none below 0 and some above 0")
        return weight_E / weight_E.sum()


def fit_reaction_norm(line_means: pl.DataFrame, lines: Sequence[str], relationship_LL: np.ndarray,
                      environments: Sequence[str] | None = None, environment_EE: np.ndarray | None = None, *,
                      terms: Sequence[str] | None = None, weights: str = "none",
                      components: Mapping[str, float] | None = None) -> ReactionNorm:
    """Fit one trait's means of lines in environments.

    Parameters
    ----------
    line_means : contract LINE_MEANS, one trait. lines, relationship_LL : all lines with genotypes and K.
    environments : all that may be predicted, in the order of `environment_EE`; None = those with records, sorted.
    environment_EE : Ω; None = no terms of covariates.
    terms : names as above; None = `WITH_COVARIATES` or `WITHOUT_COVARIATES`, without what cannot be told apart: with
        one environment `line` alone, with no line in two environments no `line_residual`.
    weights : `none` = errors of one variance; `records` = that of a mean falls with the records it rests on; `errors` =
        known from stage one (`standard_error`; means without one take the median), with the term `cell` beside them;
        `auto` = `errors` where at least half the means have one, else `none`.
    components : from an earlier fit, `error` included; None = REML.

    Raises
    ------
    ProgramError : several traits, an unknown term or environment, no record of a genotyped line, or too many records.
    """
    if weights not in WEIGHTS:
        raise ProgramError(f"weights is '{weights}'; expected one of {', '.join(WEIGHTS)}")
    if (n_traits := line_means["trait"].n_unique()) != 1:
        raise ProgramError(f"line means of {n_traits} traits; expected those of one")
    environments = tuple(line_means["environment"].unique().sort() if environments is None else environments)
    if unseen := sorted(set(line_means["environment"]) - set(environments)):
        raise ProgramError(f"records of environments without a kernel: {', '.join(unseen)}; give their covariates or "
                           "leave their records out")
    known = line_means.filter(pl.col("line_id").is_in(list(lines)))
    if not 0 < known.height <= MOST_RECORDS:
        raise ProgramError(f"{known.height} line means of genotyped lines; expected 1 to {MOST_RECORDS:,}: above, use "
                           "the two-stage models")
    row_of, column_of = ({name: i for i, name in enumerate(names)} for names in (lines, environments))
    points = {"line": np.array([row_of[line] for line in known["line_id"]]),
              "environment": np.array([column_of[name] for name in known["environment"]])}
    error_N = error_variances(known, weights)
    chosen = terms or _identified(known, environment_EE is not None, error_N is not None)
    weight_N = known["n_records"].to_numpy().astype(float) if weights == "records" else None
    random = _terms(chosen, relationship_LL, len(environments), environment_EE)
    fit = fit_mixed(known["mean"].to_numpy(), random, points, weight_N=weight_N, error_variance_N=error_N,
                    components=components)
    notices = list(fit.notices)
    if left_out := line_means.height - known.height:
        notices.append(Notice("not_genotyped", "line means of lines without genotypes are left out", left_out))
    return ReactionNorm(tuple(lines), environments, fit, tuple(notices))


def error_variances(line_means: pl.DataFrame, weights: str) -> np.ndarray | None:
    """Squared standard errors of the means where they are to be taken as known, shape (N,)."""
    error = line_means["standard_error"]
    known = error.drop_nulls()
    if weights not in ("auto", "errors") or (weights == "auto" and 2 * len(known) < len(error)):
        return None
    if known.is_empty() or known.max() == 0:
        if weights == "errors":
            raise ProgramError("weights is 'errors' and no mean has a standard error above 0; take none or records")
        return None
    variance_N = error.fill_null(known.median()).to_numpy() ** 2
    # An error of zero would make V singular where the other components are 0.
    return np.maximum(variance_N, 1e-6 * variance_N.mean())


def _identified(line_means: pl.DataFrame, covariates: bool, errors_known: bool) -> tuple[str, ...]:
    """Default terms that the records can tell apart."""
    cell = ("cell",) * errors_known
    if line_means["environment"].n_unique() < 2:
        return ("line", *cell)
    alone = line_means["line_id"].n_unique() == line_means.height
    return (*(name for name in (WITH_COVARIATES if covariates else WITHOUT_COVARIATES)
              if not (alone and name == "line_residual")), *cell)


def _terms(chosen: Sequence[str], relationship_LL: np.ndarray, n_environments: int,
           environment_EE: np.ndarray | None) -> list[Term]:
    own_EE, own_LL = np.eye(n_environments), np.eye(len(relationship_LL))
    kernels = {"environment": {"environment": own_EE}, "line": {"line": relationship_LL},
               "line_residual": {"line": own_LL}, "cell": {"line": own_LL, "environment": own_EE},
               "line_by_environment": {"line": relationship_LL, "environment": own_EE}}
    if environment_EE is not None:
        kernels |= {"environment_covariates": {"environment": environment_EE},
                    "line_by_covariates": {"line": relationship_LL, "environment": environment_EE}}
    if unknown := [name for name in chosen if name not in kernels]:
        raise ProgramError(f"terms {', '.join(unknown)}: expected some of {', '.join(kernels)}"
                           + ("; the others need a kernel of environments" if environment_EE is None else ""))
    return [Term(name, kernels[name]) for name in chosen]


def _with_target(term: Term, weight_E: np.ndarray) -> Term:
    """The term with one environment more, the weighted mean of the others: products of kernels stay products."""
    if "environment" not in term.kernels:
        return term
    spread = np.vstack([np.eye(len(weight_E)), weight_E])
    return Term(term.name, {**term.kernels, "environment": spread @ term.kernels["environment"] @ spread.T})


def _bordered(term: Term, by: str, cross_QL: np.ndarray, own_QQ: np.ndarray, unrelated: bool) -> Term:
    """The term with further levels of a classification, which `unrelated` ones share nothing with others."""
    if by not in term.kernels:
        return term
    kernel_LL, n = term.kernels[by], len(own_QQ)
    cross, own = (np.zeros((n, len(kernel_LL))), np.eye(n)) if unrelated else (cross_QL, own_QQ)
    return Term(term.name, {**term.kernels, by: np.block([[kernel_LL, cross.T], [cross, own]])})
