"""Fitting a registered version again from its commit, settings and seed, and saying whether it is the same."""

from __future__ import annotations

import json
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from genomic_platform.catalogue import CANDIDATE
from genomic_platform.errors import NotAvailable
from genomic_platform.known import known_at
from genomic_platform.models.candidate import FittedCandidate, fit_candidate
from genomic_platform.models.circumstances import circumstances
from genomic_platform.models.line_model import RUN
from genomic_platform.program import Program, ProgramFile
from genomic_platform.results.report import published_assets
from genomic_platform.stores.assets import RELEASE, AssetStore, folder_digest
from genomic_platform.version import code_version
from genomic_platform.workspace import Workspace


@dataclass(frozen=True)
class Reproduced:
    """A version fitted again.

    Attributes
    ----------
    identical : every file of parameters and values has the same bytes. largest_difference : over all values, in
        standard deviations of the trait's values then. differs : what is not as it was, in words.
    """

    recipe: str
    trained_through: str
    commit: str
    identical: bool
    largest_difference: float
    differs: tuple[str, ...]


def reproduce(program: Program, workspace: Workspace, trait: str, version: int) -> Reproduced:
    """Fit version `version` of `<program>.<trait>` again from what its commit holds.

    Raises
    ------
    NotAvailable : no such version, or nothing is published.
    """
    main = published_assets(program, workspace)
    known = workspace.registry.versions(program.name).filter(pl.col("trait") == trait)
    found = known.filter(pl.col("version") == version).to_dicts()
    if not found:
        listed = ", ".join(f"{r['trait']} {r['version']}" for r in known.to_dicts()) or "none of this trait"
        raise NotAvailable(f"no version {version} of {trait} in the registry; found {listed}")
    recipe, season, commit = found[0]["recipe"], found[0]["season"], found[0]["commit"]
    view = main.at(commit)
    settings = ProgramFile.model_validate(tomllib.loads(view.settings(season).decode()))
    again = fit_candidate(recipe, known_at(view, season, [recipe]), settings.seed, settings.units,
                          workspace.settings.device, budget=settings.search_budget)
    then: FittedCandidate = view.read(recipe, season, CANDIDATE)
    with tempfile.TemporaryDirectory() as folder:
        again.save(Path(folder))
        same = folder_digest(Path(folder), CANDIDATE.circumstances) == found[0]["model_version"]
    return Reproduced(recipe, season, commit, same, _largest_difference(then.values, again.values),
                      _differs(view, program, recipe, season))


def _largest_difference(then: pl.DataFrame, again: pl.DataFrame) -> float:
    both = then.join(again, on=["line_id", "trait"], suffix="_again")
    if both.height != then.height or again.height != then.height:
        return float("inf")
    parts = [np.abs(part[f"{value}_again"].to_numpy() - part[value].to_numpy()).max() / (part[value].std() or 1.0)
             for _, part in both.group_by("trait") for value in ("breeding_value", "genotypic_value")]
    return float(max(parts))


def _differs(view: AssetStore, program: Program, recipe: str, season: str) -> tuple[str, ...]:
    """Code, and the circumstances that the fit recorded, where they are not what they were."""
    released = view.record(RELEASE, season)
    then = json.loads(view.store.open(view.ref, f"{program.season(season).path}/{recipe}/model/{RUN}").read_text())
    now = {"code": code_version(), **circumstances()}
    before = {"code": released.code_version if released else "unknown", **then}
    return tuple(f"{name}: {before.get(name, 'not recorded')} then, {now[name]} now" for name in now
                 if before.get(name) != now[name])
