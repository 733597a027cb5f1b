"""A published value leads back to its data, code and model; any table can be had as it was, any model fitted again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jsonschema
import polars as pl
import pytest

from genomic_platform.catalogue import ASSETS
from genomic_platform.errors import NotAvailable
from genomic_platform.models.circumstances import circumstances
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.results import reproduce as reproducing
from genomic_platform.results.answers import export
from genomic_platform.results.report import json_schema
from genomic_platform.results.reproduce import reproduce
from genomic_platform.results.trace import trace
from genomic_platform.runs import run_seasons
from genomic_platform.stores.deciding import roll_back
from genomic_platform_tests.dagster.small import Small

Published = Callable[[int], Small]
TRAIT = "grain_yield_t_ha"


def line_of(small: Small, season: str = "2020") -> str:
    means = small.main.read("line_means", season, ASSETS["line_means"])
    values = small.main.read("breeding_values", season, ASSETS["breeding_values"])
    return sorted(set(means["line_id"]) & set(values["line_id"]))[0]


def test_trace_names_what_made_the_value(published: Published) -> None:
    small = published(2)
    line = line_of(small)
    found = trace(small.program, small.workspace, line, "2020", TRAIT)
    jsonschema.validate(found, json_schema("trace"))
    values = small.main.read("breeding_values", "2020", ASSETS["breeding_values"])
    row = values.filter(pl.col("line_id") == line).row(0, named=True)
    assert found["value"]["genotypic_value"] == row["genotypic_value"]
    assert found["release"]["commit"] == small.main.releases()["2020"][-1] == found["model"]["commit"]
    record = small.main.record(found["model"]["recipe"], "2020")
    assert record is not None
    assert found["model"]["model_version"] == record.data_version
    assert found["model"]["inputs"] == record.inputs
    assert [s["season"] for s in found["learned_from"]["seasons"]] == ["2019", "2020"]
    means = pl.concat([small.main.read("line_means", s, ASSETS["line_means"]) for s in ("2019", "2020")])
    assert sum(s["n_records"] for s in found["learned_from"]["seasons"]) == means["n_records"].sum()
    own = means.filter(pl.col("line_id") == line)
    assert {r["environment"] for r in found["learned_from"]["own_records"]} == set(own["environment"])
    assert found["sources"] == [s.model_dump(mode="json") for s in small.program.file.sources]
    assert found["decided_since"] == []


def test_trace_of_a_season_stays_when_it_is_rolled_back_and_replayed(published: Published) -> None:
    small = published(2)
    line = line_of(small, "2019")
    before = trace(small.program, small.workspace, line, "2019", TRAIT)
    roll_back(small.workspace, small.name, TRAIT, reason="off in the field", who="ana")
    after = trace(small.program, small.workspace, line, "2019", TRAIT)
    assert [d["who"] for d in after["decided_since"]] == ["ana"]
    assert after | {"decided_since": []} == before


def test_unknown_names_are_answered_with_near_ones(published: Published) -> None:
    small = published(1)
    line = line_of(small, "2019")
    for arguments, said in (((line[:-1] + "x", "2019", TRAIT), "no line"), ((line, "2030", TRAIT), "such as 2019"),
                            ((line, "2019", "grain_yeld_t_ha"), f"such as {TRAIT}")):
        with pytest.raises(NotAvailable, match=said):
            trace(small.program, small.workspace, *arguments)


def test_a_table_as_it_was_at_a_commit(published: Published) -> None:
    small = published(2)
    commit = small.main.releases()["2019"][-1]
    first = export(small.program, small.workspace, "line_means", "2019")
    record = small.main.record("line_means", "2019")
    small.change_trials("2019")
    (outcome,) = run_seasons(small.program, small.workspace, ["2019"])
    assert outcome.published
    assert not export(small.program, small.workspace, "line_means", "2019").equals(first)
    assert export(small.program, small.workspace, "line_means", "2019", commit[:10]).equals(first)
    assert export(small.program, small.workspace, "line_means", commit=commit).equals(first)
    then = small.main.at(commit).record("line_means", "2019")
    assert then == record
    with pytest.raises(NotAvailable, match="0 commits begin with nothing"):
        export(small.program, small.workspace, "line_means", "2019", "nothing")
    with pytest.raises(NotAvailable, match="season 2020 is not published"):
        export(small.program, small.workspace, "line_means", "2020", commit)


def test_a_version_is_fitted_again_to_the_bit(published: Published) -> None:
    small = published(2)
    version = small.workspace.registry.aliases(small.name)[TRAIT]["champion"]
    small.change_trials("2019")
    (outcome,) = run_seasons(small.program, small.workspace, ["2019"])
    assert outcome.published
    found = reproduce(small.program, small.workspace, TRAIT, version)
    assert (found.identical, found.largest_difference, found.differs) == (True, 0.0, ())
    with pytest.raises(NotAvailable, match=f"no version 99 of {TRAIT} in the registry; found {TRAIT} 1"):
        reproduce(small.program, small.workspace, TRAIT, 99)


def test_what_is_not_as_it_was_is_named(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    small = published(1)
    champion = small.workspace.registry.aliases(small.name)[TRAIT]["champion"]
    real, now = reproducing.known_at, circumstances() | {"blas threads": "64"}

    def other_data(*arguments: Any) -> TrainingSet:
        known = real(*arguments)
        return replace(known, means=known.means.with_columns(pl.col("mean") * 1.5))

    monkeypatch.setattr(reproducing, "circumstances", lambda: now)
    monkeypatch.setattr(reproducing, "code_version", lambda: "9.9")
    monkeypatch.setattr(reproducing, "known_at", other_data)
    found = reproduce(small.program, small.workspace, TRAIT, champion)
    assert not found.identical
    assert found.largest_difference > 0.01
    assert found.differs[0].endswith("then, 9.9 now")
    assert found.differs[1].startswith("blas threads: ")
