"""Which seasons of a programme are unpublished or stale: landing digests against what is published, nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from genomic_platform.landing.files import Landing
from genomic_platform.stores.assets import RELEASE, AssetStore


@dataclass(frozen=True)
class SeasonState:
    """One season: `digest` of all that is known at its end; `state` new | changed | published."""

    season: str
    digest: str
    state: str


def season_states(landing: Landing, main: AssetStore) -> list[SeasonState]:
    """Every season with trial records, in calendar order. A changed season makes all later ones changed too."""
    states = []
    for season, digest in landing.known_digests().items():
        release = main.record(RELEASE, season)
        state = "new" if release is None else "published" if release.extra["known_digest"] == digest else "changed"
        states.append(SeasonState(season, digest, state))
    return states
