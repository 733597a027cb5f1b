"""Every registered version has a card, whose figures are those of its release; a model scores only what it knows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dagster as dg
import jsonschema
import numpy as np
import polars as pl
import pytest

from genomic_platform import catalogue
from genomic_platform.catalogue import ASSETS, codec_of
from genomic_platform.definitions import build_definitions
from genomic_platform.defs.lineage import CANDIDATE, COLUMNS
from genomic_platform.defs.training.candidates import CANDIDATE_ASSETS, FURTHER
from genomic_platform.errors import InputError, NotAvailable
from genomic_platform.models.candidate import PROVENANCE, FittedCandidate
from genomic_platform.models.line_model import FittedLineModel
from genomic_platform.results.answers import predict_lines
from genomic_platform.results.card_page import card_page
from genomic_platform.results.model_card import model_card
from genomic_platform.results.report import json_schema
from genomic_platform.schemas.predictions import VALUES
from genomic_platform.stores.assets import TableCodec
from genomic_platform.stores.deciding import roll_back
from genomic_platform_tests.dagster.small import Small

Published = Callable[[int], Small]
TRAIT = "grain_yield_t_ha"


def test_a_card_tells_the_release(published: Published) -> None:
    small = published(2)
    card = model_card(small.program, small.workspace, TRAIT)
    jsonschema.validate(card, json_schema("model_card"))
    about, made = card["general_description"], card["development"]
    assert (about["trained_through"], about["version"]) == (
        "2020", small.workspace.registry.aliases("small")[TRAIT]["champion"])
    training = small.main.read("training_set", "2020", ASSETS["training_set"])
    assert made["data"]["training_lines"] == training.filter("genotyped").height
    means = pl.concat([small.main.read("line_means", s, ASSETS["line_means"]) for s in ("2019", "2020")])
    assert sum(s["records"] for s in made["data"]["seasons"]) == means["n_records"].sum()
    assert made["compute"]["cpu_seconds"] > 0
    compared = small.main.read("model_comparison", "2020", ASSETS["model_comparison"]).filter(
        pl.col("scheme") == "forward", pl.col("recipe") == about["recipe"])
    (season,) = card["performance"]["by_season"]
    assert season["r"] == compared["r_mean"][0]
    assert season["lower"] == pytest.approx(np.tanh(np.arctanh(season["r"]) - 1.959964 / np.sqrt(season["lines"] - 3)))
    assert sum(g["lines"] for g in card["performance"]["by_family"]) <= season["lines"]
    assert any("fewer than 3" in limit for limit in card["risk_management"]["limits"])
    assert card["changes"]["differences"]["seasons"] == [1, 2]


def test_cards_are_logged_with_their_runs(published: Published) -> None:
    small = published(1)
    for row in small.workspace.registry.versions("small").to_dicts():
        logged = list((small.workspace.root / "mlflow" / "artifacts").rglob(f"{TRAIT}.v{row['version']}.json"))
        assert len(logged) == 1
        assert json.loads(logged[0].read_text()) == model_card(small.program, small.workspace, TRAIT, row["version"])


def test_a_card_tells_the_decisions_taken_since(published: Published) -> None:
    small = published(2)
    roll_back(small.workspace, "small", TRAIT, reason="values of family 3 look wrong", who="ana")
    card = model_card(small.program, small.workspace, TRAIT)
    assert card["general_description"]["trained_through"] == "2019"
    assert card["monitoring_and_control"]["by_hand"][0]["reason"] == "values of family 3 look wrong"
    jsonschema.validate(card, json_schema("model_card"))
    with pytest.raises(NotAvailable, match="no version 99"):
        model_card(small.program, small.workspace, TRAIT, 99)
    with pytest.raises(NotAvailable, match=f"no trait height in the registry; expected one of {TRAIT}"):
        model_card(small.program, small.workspace, "height")


def test_the_page_says_all_of_it_and_nothing_runs_in_it(published: Published) -> None:
    small = published(2)
    card = model_card(small.program, small.workspace, TRAIT)
    card["development"]["data"]["sources"] = [{"file": "a", "title": "<script>alert(1)</script>", "licence": "x",
                                               "jurisdiction": "y"}]
    page = card_page(card)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    for text in (card["general_description"]["name"], card["development"]["method"]["fingerprint"],
                 *card["risk_management"]["limits"]):
        assert text.replace("'", "&#x27;") in page


# What a model takes for granted ---------------------------------------------------------------------------------


def scored(small: Small, tmp_path: Path) -> tuple[FittedCandidate, Path]:
    """The newest candidate, and a file of its lines' genotypes."""
    return small.main.read("genomic_blup", "2019", catalogue.CANDIDATE), next(
        (small.folder / "landing").rglob("*.vcf*"))


def test_everything_that_is_not_as_in_training_is_named_at_once(published: Published, tmp_path: Path) -> None:
    candidate, _ = scored(published(1), tmp_path)
    assert candidate.provenance is not None
    assert isinstance(candidate.model, FittedLineModel)
    panel = candidate.model.panel
    units = dict(candidate.provenance.units)
    assert candidate.score(panel, units).equals(candidate.values)
    odd = replace(candidate, provenance=replace(candidate.provenance, schema_version=0, allele_coding="REF copies"))
    fewer = panel.select(range(3, panel.n_variants))
    with pytest.raises(InputError) as caught:
        odd.score(fewer, {**units, TRAIT: "kg/ha"})
    assert [p.field for p in caught.value.problems] == [f"unit of {TRAIT}", "schema_version", "allele_coding",
                                                        "markers"]
    assert "3 of them missing" in str(caught.value)
    with pytest.raises(InputError, match="earlier version"):
        replace(candidate, provenance=None).score(panel, units)
    candidate.save(tmp_path)
    assert FittedCandidate.load(tmp_path).provenance == candidate.provenance
    (tmp_path / PROVENANCE).unlink()
    assert FittedCandidate.load(tmp_path).provenance is None


def test_predict_refuses_another_unit(published: Published, tmp_path: Path) -> None:
    small = published(1)
    _, genotypes = scored(small, tmp_path)
    assert predict_lines(small.program, small.workspace, [genotypes]).height
    file = small.folder / "program.toml"
    unit = small.program.file.units[TRAIT]
    assert f'"{unit}"' in file.read_text()
    file.write_text(file.read_text().replace(f'"{unit}"', '"bu/ac"'))
    with pytest.raises(InputError, match=r"unit of grain_yield_t_ha is 'bu/ac'.*--force"):
        predict_lines(small.program, small.workspace, [genotypes])


def test_a_release_links_its_commit_and_cards_and_a_table_its_columns(published: Published) -> None:
    small = published(1)
    with dg.DagsterInstance.from_config(str(small.workspace.dagster_home)) as instance:
        found = [instance.fetch_materializations(dg.AssetKey(name), limit=1).records[0].asset_materialization
                 for name in ("season_release", "breeding_values")]
    released, values = (event.metadata for event in found if event is not None)
    assert released["commit"].value == small.main.releases()["2019"][-1]
    assert f"/cards/{TRAIT}.v1.html)" in str(released["model_cards"].value)
    lineage = values["dagster/column_lineage"].value
    assert isinstance(lineage, dg.TableColumnLineage)
    assert dg.TableColumnDep(dg.AssetKey("kernel"), "breeding_value") in lineage.deps_by_column["breeding_value"]


# Column lineage -------------------------------------------------------------------------------------------------


def columns_of(asset: str) -> set[str]:
    codec = codec_of(asset)
    contract = codec.contract if isinstance(codec, TableCodec) else VALUES if asset == CANDIDATE else None
    assert contract is not None, asset
    return {column.name for column in contract.columns}


@pytest.mark.parametrize("asset", sorted(COLUMNS))
def test_column_lineage_names_columns_that_exist_of_assets_upstream(asset: str) -> None:
    above: set[str] = set()
    graph, waiting = build_definitions().resolve_asset_graph(), [FURTHER if asset == CANDIDATE else asset]
    while waiting:
        parents = {key.to_user_string() for node in graph.asset_nodes if node.key.to_user_string() == waiting[-1]
                   for key in node.parent_keys}
        waiting.pop()
        waiting += parents - above
        above |= parents
    assert set(COLUMNS[asset]) <= columns_of(asset)
    for origins in COLUMNS[asset].values():
        for origin in origins:
            name, column = origin.split(".")
            assert {*CANDIDATE_ASSETS} <= above if name == CANDIDATE else name in above
            assert column in columns_of(name)
