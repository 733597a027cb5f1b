"""A mixed model with several random terms, fitted: fixed effects, components, BLUPs of each term with reliability.

y = Xb + Σ u_k + e, Var(u_k) = σ²_k K_k (`terms`), Var(e) = σ²e / w with weights w, or known error variances.
Estimating components belongs to `variance`. Axes: N records, F fixed effects, K terms, Q points to be predicted.
Reference: Henderson 1975, Biometrics 31:423-447.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from genomic_platform.errors import Notice, ProgramError
from genomic_platform.models.mixed.fixed import independent_columns
from genomic_platform.models.mixed.terms import Points, Term
from genomic_platform.models.mixed.variance import Components, Projection, project, reml
from genomic_platform.models.threads import threads_for

#: A term with less than this share of its variance left beside the fixed effects cannot be told from them.
_CONFOUNDED = 1e-8


class Values(NamedTuple):
    """Predicted effects of Q points and their reliabilities 1 − PEV / variance, 0–1."""

    value_Q: np.ndarray
    reliability_Q: np.ndarray


@dataclass(frozen=True, eq=False)
class MixedFit:
    """A fitted mixed model.

    Attributes
    ----------
    terms : random terms. variance : component of each term, squared units of y; 0 at the boundary.
    error_variance : σ²e at weight 1; with known error variances their mean.
    standard_error : of the components, `error` included; NaN at the boundary and where not estimated.
    fixed_names, effect_F, effect_error_F : fixed effects kept, their estimates and standard errors.
    log_likelihood : restricted, without the constant. converged : whether the iterations ended by themselves.
    notices : what a person should know: `collinear`, `zero_variance`, `confounded`, `zero_weight`, `not_converged`.
    """

    terms: tuple[Term, ...]
    points: Points
    variance: Mapping[str, float]
    error_variance: float
    standard_error: Mapping[str, float]
    fixed_names: tuple[str, ...]
    effect_F: np.ndarray
    effect_error_F: np.ndarray
    log_likelihood: float
    converged: bool
    notices: tuple[Notice, ...]
    at: Projection

    def predict(self, points: Points, terms: Collection[str] | None = None) -> Values:
        """BLUP of the sum of `terms` (None = all) at any points, deviations from the fixed part.

        Raises
        ------
        ProgramError : a term that is not in the model, or a level outside its kernel.
        """
        chosen = [t for t in self.terms if terms is None or t.name in terms]
        if terms is not None and (unknown := set(terms) - {t.name for t in self.terms}):
            raise ProgramError(f"no term {', '.join(sorted(unknown))}; expected some of "
                               f"{', '.join(t.name for t in self.terms)}")
        n_points = len(next(iter(points.values())))
        cross_QN, own_Q = np.zeros((n_points, len(self.at.projected_N))), np.zeros(n_points)
        for term in chosen:
            term.check(points)
            if (variance := self.variance[term.name]) > 0:
                cross_QN += variance * term.covariance(points, self.points)
                own_Q += variance * term.own(points)
        explained_Q = np.einsum("qn,qn->q", cross_QN @ self.at.p_NN, cross_QN)
        reliability_Q = np.divide(explained_Q, own_Q, out=np.zeros(n_points), where=own_Q > 0)
        return Values(cross_QN @ self.at.projected_N, np.clip(reliability_Q, 0.0, 1.0))


def fit_mixed(y_N: np.ndarray, terms: Sequence[Term], points: Points, *, fixed: Mapping[str, np.ndarray] | None = None,
              weight_N: np.ndarray | None = None, error_variance_N: np.ndarray | None = None,
              components: Mapping[str, float] | None = None) -> MixedFit:
    """REML of all components and BLUPs.

    Parameters
    ----------
    y_N : records, trait's unit. terms : with distinct names. points : where each record stands.
    fixed : name → column (N,), in the order in which collinear ones are left out; None = the mean.
    weight_N : w ≥ 0, such as numbers of plots, Var(e) = σ²e / w; records of weight 0 are left out. None = 1.
    error_variance_N : known variances of the errors; nothing is estimated for them. Not with weights.
    components : variance of each term, and `error` unless error variances are known, from an earlier fit; None = REML.

    Raises
    ------
    ProgramError : a value that is NaN or infinite, no positive weight, too few records, a kernel that does not fit.
    """
    y_N = np.asarray(y_N, dtype=np.float64)
    fixed = {"mean": np.ones(len(y_N))} if fixed is None else fixed
    _check(y_N, terms, points, fixed, weight_N, error_variance_N)
    notices: list[Notice] = []
    kept_N = np.ones(len(y_N), dtype=bool) if weight_N is None else weight_N > 0
    if not kept_N.all():
        notices.append(Notice("zero_weight", "records of weight 0 are left out", int((~kept_N).sum())))
    y_N, points = y_N[kept_N], {by: level_N[kept_N] for by, level_N in points.items()}
    all_NF, names = np.column_stack([np.asarray(x_N, float)[kept_N] for x_N in fixed.values()]), list(fixed)
    columns, collinear = independent_columns(all_NF, names)
    notices += collinear
    fixed_NF = all_NF[:, columns]
    if len(y_N) < fixed_NF.shape[1] + 2:
        raise ProgramError(f"{len(y_N)} records and {fixed_NF.shape[1]} fixed effects; expected at least two records "
                           "more than fixed effects")
    of_term = {term: term.covariance(points, points) for term in terms}
    estimated = [term for term in terms if not _confounded(of_term[term], fixed_NF)]
    notices += [Notice("confounded", f"term {term.name} cannot be told from the fixed effects; its values are 0")
                for term in terms if term not in estimated]
    covariances = [of_term[term] for term in estimated]
    known_N = None if error_variance_N is None else error_variance_N[kept_N]
    if known_N is None:
        covariances.append(np.ones(len(y_N)) if weight_N is None else 1.0 / weight_N[kept_N])
    with threads_for(len(y_N)):
        if components is None and covariances:
            found = _components(y_N, fixed_NF, covariances, known_N)
        else:
            names_K = [term.name for term in estimated] + ["error"] * (known_N is None)
            theta_K = np.array([(components or {})[name] for name in names_K])
            found = _given(y_N, fixed_NF, covariances, known_N, theta_K)
    return _fit(terms, estimated, points, tuple(names[f] for f in columns), found, known_N, notices)


def _components(y_N: np.ndarray, fixed_NF: np.ndarray, covariances: list[np.ndarray],
                known_N: np.ndarray | None) -> Components:
    """REML, or all components 0 where the fixed effects explain every record and errors are not known."""
    rest_N = y_N - fixed_NF @ np.linalg.lstsq(fixed_NF, y_N, rcond=None)[0]
    if known_N is None and np.abs(rest_N).max() <= 1e-10 * max(np.abs(y_N).max(), 1e-300):
        k = len(covariances)
        nothing = Projection(np.zeros((len(y_N), len(y_N))), np.zeros(len(y_N)),
                             np.linalg.lstsq(fixed_NF, y_N, rcond=None)[0], np.zeros((fixed_NF.shape[1],) * 2), 0.0)
        return Components(np.zeros(k), nothing, np.zeros((k, k)), True)
    return reml(y_N, fixed_NF, covariances, known_N)


def _given(y_N: np.ndarray, fixed_NF: np.ndarray, covariances: list[np.ndarray], known_N: np.ndarray | None,
           theta_K: np.ndarray) -> Components:
    """The model at components known before."""
    k = len(theta_K)
    return Components(theta_K, project(y_N, fixed_NF, covariances, theta_K, known_N), np.zeros((k, k)), True)


def _fit(terms: Sequence[Term], estimated: Sequence[Term], points: Points, fixed_names: tuple[str, ...],
         found: Components, known_N: np.ndarray | None, notices: list[Notice]) -> MixedFit:
    variance = {term.name: 0.0 for term in terms}
    variance |= {term.name: float(theta) for term, theta in zip(estimated, found.theta_K, strict=False)}
    names = [term.name for term in estimated] + (["error"] if known_N is None else [])
    notices = notices + [
        Notice("zero_variance", f"variance of term {term.name} is estimated at 0; its values are 0, reliability 0")
        for term in estimated if variance[term.name] == 0]
    if not found.converged:
        notices.append(Notice("not_converged", "variance components had not settled when the iterations ran out"))
    return MixedFit(
        tuple(terms), points, variance, float(found.theta_K[-1] if known_N is None else known_N.mean()),
        dict(zip(names, found.standard_error_K.tolist(), strict=True)), fixed_names, found.at.effect_F,
        np.sqrt(np.diagonal(found.at.effect_FF)), found.at.log_likelihood, found.converged, tuple(notices), found.at)


def _confounded(covariance_NN: np.ndarray, fixed_NF: np.ndarray) -> bool:
    """Whether the fixed effects explain all that a term could: such as the family effect of a single family."""
    basis_NF = np.linalg.qr(fixed_NF)[0]
    total = float(np.trace(covariance_NN))
    return total - float(np.vdot(basis_NF, covariance_NN @ basis_NF)) <= _CONFOUNDED * total


def _check(y_N: np.ndarray, terms: Sequence[Term], points: Points, fixed: Mapping[str, np.ndarray],
           weight_N: np.ndarray | None, error_variance_N: np.ndarray | None) -> None:
    columns = {"y": y_N, **{f"fixed effect {name}": column_N for name, column_N in fixed.items()},
               **{f"level of {by}": level_N for by, level_N in points.items()}}
    columns |= {} if weight_N is None else {"weight": weight_N}
    columns |= {} if error_variance_N is None else {"error variance": error_variance_N}
    for name, column_N in columns.items():
        if np.shape(column_N) != y_N.shape:
            raise ProgramError(f"{name} has shape {np.shape(column_N)}; expected one value for each of "
                               f"{len(y_N)} records")
        if bad := int((~np.isfinite(column_N)).sum()):
            raise ProgramError(f"{name} is NaN or infinite in {bad} of {len(y_N)} records; expected numbers: leave "
                               "these records out or complete them")
    if weight_N is not None and error_variance_N is not None:
        raise ProgramError("expected weights or known error variances; found both")
    if weight_N is not None and ((weight_N < 0).any() or not (weight_N > 0).any()):
        raise ProgramError(f"weights go from {weight_N.min():g} to {weight_N.max():g}; expected none below 0 and some "
                           "above 0")
    if error_variance_N is not None and not (error_variance_N > 0).all():
        raise ProgramError("known error variances: expected all above 0; found one of "
                           f"{float(error_variance_N.min()):g}")
    names = [term.name for term in terms]
    if not names or len(set(names)) < len(names) or "error" in names:
        raise ProgramError(f"terms are named {', '.join(names) or 'nothing'}; expected distinct names other than error")
    for term in terms:
        term.check(points)
