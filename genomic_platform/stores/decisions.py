"""Who is champion now: the latest season's decisions, and those taken by hand since.

A season decides once, in `registered_model`; between seasons `approve`, `reject` and `rollback` append rows to the
programme's table `hand_decisions.parquet` on `main`. Both are read together here; who may decide is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from genomic_platform.catalogue import ASSETS
from genomic_platform.errors import ObjectNotFound
from genomic_platform.schemas.predictions import HAND_DECISIONS
from genomic_platform.stores.assets import AssetStore

_CHAMPION = ("recipe", "trained_through", "model_version", "n_train")


def hand_decisions_path(program: str) -> str:
    return f"{program}/{HAND_DECISIONS.name}.parquet"


def hand_decisions(assets: AssetStore, before: str | None = None) -> pl.DataFrame:
    """Decisions taken by hand as this ref knows them (contract HAND_DECISIONS), in the order taken.

    Parameters
    ----------
    before : only those a season of this label knows: taken when the latest published season was an earlier one.
    """
    try:
        table = HAND_DECISIONS.read(assets.store.open(assets.ref, hand_decisions_path(assets.program)))
    except ObjectNotFound:
        return HAND_DECISIONS.empty()
    return table if before is None else table.filter(pl.col("season") < before)


def standing(assets: AssetStore, season: str | None = None) -> pl.DataFrame:
    """The state of every trait after a published season (None = the latest) and the decisions by hand that followed it
    before the next season (contract REGISTERED_MODEL). Empty when nothing is published."""
    contract = ASSETS["registered_model"].contract  # type: ignore[union-attr]
    published = assets.published()
    if not published:
        return contract.empty()
    label = season or published[-1]
    table = assets.read("registered_model", label, ASSETS["registered_model"])
    own = hand_decisions(assets).filter(pl.col("season") == label)
    latest = {row["trait"]: row for row in own.iter_rows(named=True)}
    rows = [_overlaid(row, latest.get(row["trait"])) for row in table.iter_rows(named=True)]
    return contract.conform(pl.DataFrame(rows, schema=contract.schema))


def _overlaid(row: dict[str, object], hand: Mapping[str, object] | None) -> dict[str, object]:
    if hand is None:
        return row
    reasons = [f"{hand['action']} by {hand['who']}, {hand['time']:%Y-%m-%d %H:%M} UTC: {hand['reason']}"]
    # A rollback leaves what was proposed waiting; approve and reject answer it.
    proposed = row["proposed"] if hand["action"] == "rollback" else None
    return row | {name: hand[name] for name in _CHAMPION} | {
        "decision": hand["decision"], "proposed": proposed, "reasons": reasons + list(row["reasons"])}  # type: ignore


def pinned(assets: AssetStore, before: str | None = None) -> dict[str, str]:
    """Traits whose champion no season may change, with why: rolled back, and nobody has approved a change since.

    Parameters
    ----------
    before : as a season of this label knows it; None = now.
    """
    found: dict[str, str] = {}
    by_hand = hand_decisions(assets, before).partition_by("season", as_dict=True)
    for season in assets.published():
        if before is not None and season >= before:
            break
        for row in assets.read("registered_model", season, ASSETS["registered_model"]).iter_rows(named=True):
            if row["decision"] == "rollback":
                found[row["trait"]] = f"rolled back by season {season}: {'; '.join(row['reasons'][:1])}"
        for row in by_hand.get((season,), HAND_DECISIONS.empty()).iter_rows(named=True):
            if row["pinned"]:
                found[row["trait"]] = (f"rolled back by {row['who']} on {row['time']:%Y-%m-%d} after season {season}: "
                                       f"{row['reason']}")
            elif row["action"] == "approve":
                found.pop(row["trait"], None)
    return found
