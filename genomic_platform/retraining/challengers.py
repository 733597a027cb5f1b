"""Which of a programme's challengers are candidates in a run: those called, and those that have come to stay."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from genomic_platform.stores.assets import RELEASE, AssetStore
from genomic_platform.stores.decisions import standing

#: On runs that a cause started: its kind and words, `drift: …`.
CAUSE_TAG = "genomic_platform/cause"
#: On every run that a cause started, or a person by `retrain`, so that they are found.
RETRAINING_TAG = "genomic_platform/retraining"
#: Kinds of cause that call the challengers; `retraining.on` of program.toml chooses among them, a person need not.
CALLING = ("drift", "accuracy", "before_planting", "after_harvest", "hand")


def kind_of(cause: str) -> str:
    """`drift: …` → drift; a run without a cause was started by its season's data."""
    return cause.partition(":")[0] if cause else "season"


def calls(cause: str) -> bool:
    """Whether a run with this cause tries the challengers."""
    return kind_of(cause) in CALLING


def challengers_joining(assets: AssetStore, challengers: Sequence[str], season: str, *, called: bool) -> list[str]:
    """Challengers that are candidates of a run of the season.

    All of them where they are called; else those that are a trait's champion after the preceding season, and those the
    season is published with: a replay after a correction does not take a champion away.

    Parameters
    ----------
    assets : the run's branch, or `main`.
    """
    if called or not challengers:
        return list(challengers)
    earlier = [label for label in assets.published() if label < season]
    champions: Collection[str] = set(standing(assets, earlier[-1])["recipe"]) if earlier else set()
    release = assets.record(RELEASE, season)
    return [c for c in challengers if c in champions or (release is not None and c in release.inputs)]
