"""The search: which settings are tried next, when a trial is stopped, and a record from which a killed one goes on.

Settings come from Optuna's tree-structured Parzen estimator; a trial whose first folds gain less over the recipe's own
settings than half of the earlier ones did is pruned. Each proposal and each pruning is had from the record of trials
and a generator seeded by the trial's number, so that a resumed search does what an undisturbed one does. Hence no
storage of Optuna's: a kill can leave its journal with a lock and half a line, a `Checkpoint` is whole.
References: Bergstra et al. 2011, NeurIPS 24; Akiba et al. 2019, KDD '19:2623.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from genomic_platform.models.checkpoint import Checkpoint
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.models.search.budget import Budget
from genomic_platform.models.search.inner import InnerFold, inner_ability
from genomic_platform.models.search.space import Searchable, Setting, own_settings, with_settings

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

#: Trials that are drawn at random and run to their end, before there is something to learn from.
STARTUP = 5
#: Folds that every trial gets: settings differ little, and one fold's gain is mostly chance.
FIRST_FOLDS = 2
RUNNING, COMPLETE, PRUNED = "running", "complete", "pruned"
BY_TRIALS, BY_MINUTES = "trials", "minutes"


@dataclass(frozen=True)
class Trial:
    """One try: settings, ability in each inner fold so far, and `running`, `complete` or `pruned`."""

    settings: Mapping[str, Setting]
    scores: tuple[float, ...] = ()
    state: str = RUNNING

    @property
    def ability(self) -> float:
        """Mean over its folds."""
        return float(np.mean(self.scores))


@dataclass(frozen=True)
class Record:
    """A search so far; trial 0 has the recipe's own settings.

    Attributes
    ----------
    trials : in order; the last may be running. seconds : spent on them. ended_by : `trials`, `minutes`; "" = not yet.
    """

    trials: tuple[Trial, ...] = ()
    seconds: float = 0.0
    ended_by: str = ""

    @property
    def done(self) -> tuple[Trial, ...]:
        return tuple(trial for trial in self.trials if trial.state != RUNNING)

    @property
    def best(self) -> int:
        """The complete trial of the highest ability, the earliest of equals."""
        done = self.done
        return max((n for n, trial in enumerate(done) if trial.state == COMPLETE), key=lambda n: (done[n].ability, -n))

    @classmethod
    def read(cls, place: Checkpoint) -> Self:
        kept = place.load() or {"trials": [], "seconds": 0.0}
        return cls(tuple(Trial(t["settings"], tuple(t["scores"]), t["state"]) for t in kept["trials"]), kept["seconds"])

    def state(self) -> dict[str, Any]:
        return {"trials": [asdict(trial) for trial in self.trials], "seconds": self.seconds}


def search(recipe: Searchable, folds: Sequence[InnerFold], budget: Budget, *, seed: int, device: str,
           folder: Path | None) -> Record:
    """Try settings until the budget is spent; a trial that the minutes cut short does not count.

    Parameters
    ----------
    folder : from which a killed search of the same `digest` goes on; None keeps nothing.
    """
    place = Checkpoint(folder)
    record = Record.read(place)
    began = time.monotonic() - record.seconds
    while len(record.done) < budget.trials:
        if len(record.done) and record.seconds >= 60 * budget.minutes:
            return replace(record, trials=record.done, ended_by=BY_MINUTES)
        *done, trial = record.trials if len(record.trials) > len(record.done) else (
            *record.done, Trial(_proposed(recipe, record.done, seed)))
        part = None if folder is None else folder / f"trial{len(done)}-fold{len(trial.scores)}"
        score = inner_ability(with_settings(recipe, trial.settings), folds[len(trial.scores)], seed=seed,
                              device=device, checkpoint=part)
        trial = replace(trial, scores=(*trial.scores, score))
        if len(trial.scores) == len(folds):
            trial = replace(trial, state=COMPLETE)
        elif done and _hopeless(recipe, done, trial, seed):
            trial = replace(trial, state=PRUNED)
        record = Record((*done, trial), time.monotonic() - began)
        place.save(record.state())
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
    return replace(record, trials=record.done[: budget.trials], ended_by=BY_TRIALS)


def digest(recipe: Searchable, training_set: TrainingSet, n_folds: int, seed: int, device: str) -> str:
    """sha256 of all that trials depend on: recipe and settings, data, seed, device, Optuna; the budget is no part."""
    about = {"recipe": recipe.name, "code": recipe.code_version,
             "settings": asdict(recipe),  # type: ignore[call-overload]
             "space": {name: repr(found) for name, found in recipe.space.items()},
             "folds": n_folds, "seed": seed, "device": device, "optuna": version("optuna"), "numpy": version("numpy"),
             "season": training_set.season, "families": training_set.families, "lines": training_set.genotypes.lines,
             "markers": training_set.genotypes.marker_digest}
    found = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode())
    found.update(np.ascontiguousarray(training_set.genotypes.packed_MB).data)
    for table in ("means", "environment_features", "pedigree", "line_means"):
        if (content := getattr(training_set, table)) is not None:
            found.update(content.write_ndjson().encode())
    return found.hexdigest()


def _proposed(recipe: Searchable, done: Sequence[Trial], seed: int) -> dict[str, Setting]:
    """Settings of the next trial."""
    if not done:
        return own_settings(recipe)
    return _asked(recipe, done, seed).params


def _hopeless(recipe: Searchable, done: Sequence[Trial], trial: Trial, seed: int) -> bool:
    """Whether a running trial's gain so far is below the median of the complete trials' after as many folds."""
    asked = _asked(recipe, done, seed)
    gains = _gains(trial, done[0])
    asked.report(gains[-1], len(gains) - 1)
    return asked.should_prune()


def _asked(recipe: Searchable, done: Sequence[Trial], seed: int) -> optuna.Trial:
    """The trial that follows on those done."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    own = own_settings(recipe)
    ranges = {name: found.distribution(own[name]) for name, found in recipe.space.items()}
    number = int(np.random.SeedSequence([seed, len(done)]).generate_state(1)[0])
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(n_startup_trials=STARTUP, seed=number),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=FIRST_FOLDS - 1))
    study.add_trials([_frozen(trial, done[0], ranges) for trial in done])
    return study.ask(ranges)


def _frozen(trial: Trial, own: Trial, ranges: Mapping[str, BaseDistribution]) -> optuna.trial.FrozenTrial:
    from optuna.trial import TrialState, create_trial

    gains = _gains(trial, own)
    return create_trial(params=dict(trial.settings), distributions=dict(ranges), value=gains[-1],
                        intermediate_values=dict(enumerate(gains)),
                        state=TrialState.COMPLETE if trial.state == COMPLETE else TrialState.PRUNED)


def _gains(trial: Trial, own: Trial) -> list[float]:
    """Mean gain in ability over the recipe's own settings after each fold: folds differ in how well they go."""
    gain_K = np.array(trial.scores) - own.scores[: len(trial.scores)]
    return (gain_K.cumsum() / np.arange(1, len(gain_K) + 1)).tolist()
