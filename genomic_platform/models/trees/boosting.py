"""Gradient boosting with one member per inner fold, all stopped together where lines they had not seen say so.

Each member is grown on the lines outside its fold; after every round all folds' lines have a prediction by the member
that had not seen them, and their weighted squared error says how many rounds to keep. Deterministic: one thread,
rows in order, histograms in double precision.
Axes: N training lines, Q lines to predict, F features, K members.
References: Friedman 2001, Ann. Stat. 29:1189-1232; Ke et al. 2017, NeurIPS 30 (LightGBM).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from genomic_platform.errors import MissingExtra, ProgramError

if TYPE_CHECKING:
    from lightgbm import Booster

#: Rounds from one look at the lines not seen to the next: predicting costs as much as growing.
LOOK_EVERY = 5


@dataclass(frozen=True)
class Boosting:
    """How trees are grown."""

    rate: float = 0.05
    """What is taken of each tree, above 0 and at most 1."""
    leaves: int = 8
    """Most leaves of a tree: interactions of up to three markers and more."""
    lines_per_leaf: int = 10
    """Fewest training lines of a leaf."""
    feature_share: float = 0.2
    """Share of the features, drawn anew, that a tree may split on."""
    line_share: float = 0.7
    """Share of the lines, drawn anew, that a tree is grown on (Friedman 2002, stochastic gradient boosting)."""
    shrinkage: float = 1.0
    """Lines' worth of value 0 that each leaf is averaged with."""
    rounds: int = 2_000
    """Most trees of a member."""
    patience: int = 30
    """Rounds without a smaller error in lines not seen before growing ends; looked at every fifth round."""

    def __post_init__(self) -> None:
        wrong = [f"{name} is {getattr(self, name)}; expected above 0 and at most 1"
                 for name in ("rate", "feature_share", "line_share") if not 0 < getattr(self, name) <= 1]
        wrong += [f"{name} is {getattr(self, name)}; expected at least {least}" for name, least in
                  (("leaves", 2), ("lines_per_leaf", 1), ("shrinkage", 0), ("rounds", LOOK_EVERY),
                   ("patience", LOOK_EVERY)) if getattr(self, name) < least]
        if wrong:
            raise ProgramError(f"boosted_trees: {'; '.join(wrong)}")

    def parameters(self, seed: int) -> dict[str, float | int | str | bool]:
        """In LightGBM's names."""
        return {"objective": "regression", "learning_rate": self.rate, "num_leaves": self.leaves,
                "min_data_in_leaf": self.lines_per_leaf, "feature_fraction": self.feature_share,
                "bagging_fraction": self.line_share, "bagging_freq": 1, "lambda_l2": self.shrinkage, "max_bin": 63,
                "feature_pre_filter": False, "seed": seed, "deterministic": True, "force_row_wise": True,
                "num_threads": 1, "verbosity": -1}


class Grown(NamedTuple):
    """Members after the best round.

    Attributes
    ----------
    texts : LightGBM's text of each member; none where no round helped. rounds : kept.
    held_out_N : each line's prediction by the member that had not seen it.
    """

    texts: tuple[str, ...]
    rounds: int
    held_out_N: np.ndarray


def grow(features_KNF: Sequence[np.ndarray], z_N: np.ndarray, weight_N: np.ndarray, fold_N: np.ndarray,
         settings: Boosting, seed: int) -> Grown:
    """Grow a member for each fold on its own features of the same lines.

    Parameters
    ----------
    z_N : what is predicted, standardised. weight_N : of the lines. fold_N : the member that does not see the line.
    """
    members = [_Member(features_NF, z_N, weight_N, fold_N != fold, settings.parameters(seed + fold))
               for fold, features_NF in enumerate(features_KNF)]
    held_out_N = np.empty(len(z_N))
    for fold, member in enumerate(members):
        held_out_N[fold_N == fold] = member.mean
    best_N, best, kept = held_out_N.copy(), _error(z_N, held_out_N, weight_N), 0
    kept_K = [0] * len(members)
    for done in range(LOOK_EVERY, settings.rounds + 1, LOOK_EVERY):
        for fold, member in enumerate(members):
            held_out_N[fold_N == fold] = member.grown(LOOK_EVERY)
        error = _error(z_N, held_out_N, weight_N)
        if error < best:
            best_N, best, kept = held_out_N.copy(), error, done
            kept_K = [member.booster.current_iteration() for member in members]
        elif done - kept >= settings.patience:
            break
    texts = tuple(m.booster.model_to_string(num_iteration=k) for m, k in zip(members, kept_K, strict=True))
    return Grown(texts if kept else (), kept, best_N)


def _error(z_N: np.ndarray, predicted_N: np.ndarray, weight_N: np.ndarray) -> float:
    return float(weight_N @ (z_N - predicted_N) ** 2)


class _Member:
    """A booster and its predictions of the lines it does not see."""

    def __init__(self, features_NF: np.ndarray, z_N: np.ndarray, weight_N: np.ndarray, seen_N: np.ndarray,
                 parameters: dict[str, float | int | str | bool]) -> None:
        lightgbm = trees_package()
        data = lightgbm.Dataset(features_NF[seen_N], z_N[seen_N], weight=weight_N[seen_N], params=parameters)
        self.booster: Booster = lightgbm.Booster(parameters, data)
        self.mean = float(np.average(z_N[seen_N], weights=weight_N[seen_N]))
        self.unseen_QF = features_NF[~seen_N]
        self.predicted_Q = np.zeros(len(self.unseen_QF))

    def grown(self, trees: int) -> np.ndarray:
        """Predictions after some more trees; one that finds nothing to split on is none."""
        before = self.booster.current_iteration()
        for _ in range(trees):
            self.booster.update()
        if self.booster.current_iteration() > before:
            self.predicted_Q = self.predicted_Q + predicted(self.booster, self.unseen_QF, before)
        return self.predicted_Q


def predicted(booster: Booster, features_QF: np.ndarray, first: int = 0) -> np.ndarray:
    """Sum of the trees from `first` on, shape (Q,)."""
    return np.asarray(booster.predict(features_QF, start_iteration=first, num_threads=1))


def contributions(booster: Booster, features_QF: np.ndarray) -> np.ndarray:
    """What each feature adds to a line's prediction, SHAP values, (Q, F)."""
    return np.asarray(booster.predict(features_QF, pred_contrib=True, num_threads=1))[:, :-1]


def read_booster(text: str) -> Booster:
    """A member from its text."""
    return trees_package().Booster(model_str=text)


def trees_package() -> ModuleType:
    """LightGBM.

    Raises
    ------
    MissingExtra : it is not installed.
    """
    try:
        import lightgbm
    except ImportError as error:
        raise MissingExtra("boosted trees need the package lightgbm; repair: pip install 'genomic-platform[trees]'"
                           ) from error
    return lightgbm
