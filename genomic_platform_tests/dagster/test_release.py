"""Publishing: what stops a release, what only warns, and the registry's aliases as a projection of the decisions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl
import pytest

from genomic_platform.catalogue import ASSETS
from genomic_platform.defs.genotypes import checks as genotype_checks
from genomic_platform.defs.monitoring import accuracy_checks
from genomic_platform.defs.monitoring import checks as monitoring_checks
from genomic_platform.defs.partitions import field_season
from genomic_platform.defs.phenotypes import checks as phenotype_checks
from genomic_platform.defs.registry import checks as registry_checks
from genomic_platform.defs.season_asset import FORCE_TAG
from genomic_platform.defs.training import checks as training_checks
from genomic_platform.stores import release
from genomic_platform.stores.protocol import MAIN
from genomic_platform_tests.dagster.small import Small, failures_of

Published = Callable[[int], Small]
Opened = Callable[[Small], dg.DagsterInstance]
TRAIT = "grain_yield_t_ha"


def read(small: Small, asset: str) -> Any:
    return small.main.read(asset, "2020", ASSETS[asset])


def run_check(small: Small, check: dg.AssetChecksDefinition, tables: dict[str, Any]) -> dg.AssetCheckEvaluation:
    """Evaluate a check in a real run of its own on tables as given."""
    held = {dg.AssetKey(name): value for name, value in tables.items()}

    class Given(dg.IOManager):
        def load_input(self, context: dg.InputContext) -> Any:
            return held[context.asset_key]

        def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
            """The asset that gives the run its partition hands nothing on."""

    @dg.asset(partitions_def=field_season, io_manager_key="given")
    def season() -> None: ...

    sources = [dg.AssetSpec(key, partitions_def=field_season).with_io_manager_key("given") for key in held]
    chosen = dg.define_asset_job("one_check", dg.AssetSelection.assets(season) | dg.AssetSelection.checks(check))
    job = dg.Definitions(assets=[season, *sources], asset_checks=[check], resources={"given": Given()},
                         jobs=[chosen]).resolve_job_def("one_check")
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(field_season.name or "", [small.key("2020")])
        result = job.execute_in_process(instance=instance, partition_key=small.key("2020"), raise_on_error=False)
        (evaluation,) = result.get_asset_check_evaluations()
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        assert ("dagster/max_retries" in run.tags) == (evaluation.blocking is True and not evaluation.passed)
        return evaluation


def spoiled(table: pl.DataFrame, column: str, value: object) -> pl.DataFrame:
    """The table with the first cell of a column replaced."""
    cell = pl.lit(value, dtype=table.schema[column])
    return table.with_columns(pl.when(pl.int_range(pl.len()) == 0).then(cell).otherwise(column).alias(column))


#: Every check, the asset it looks at, and how a table it must refuse is made from a good one.
BAD: list[tuple[Any, str, Callable[[Any], Any]]] = [
    (phenotype_checks.trial_records_schema, "trial_records", lambda t: pl.concat([t, t.head(1)])),
    (phenotype_checks.values_in_range, "trial_records", lambda t: spoiled(t, "value", 1e6)),
    (phenotype_checks.no_duplicated_lines, "line_records", lambda t: pl.concat([t, t.head(1)])),
    (phenotype_checks.pedigree_schema, "pedigree", lambda t: pl.concat([t, t.head(1)])),
    (phenotype_checks.one_mean_a_line, "line_means", lambda t: spoiled(t, "mean", float("inf"))),
    (genotype_checks.enough_variants, "genotype_qc", lambda t: t.with_columns(kept=pl.lit(False))),
    (genotype_checks.lines_with_genotypes, "trial_records",
     lambda t: t.with_columns(line_id="unknown_" + pl.col("line_id"))),
    (training_checks.nothing_later, "training_set", lambda t: spoiled(t, "first_season", "2021")),
    (training_checks.nothing_later, "training_set", lambda t: spoiled(t, "last_season", "2021")),
    (training_checks.enough_training_lines, "training_set", lambda t: t.with_columns(genotyped=pl.lit(False))),
    (training_checks.comparison_complete, "model_comparison", lambda t: spoiled(t, "n_lines", 1)),
    (registry_checks.every_trait_decided, "registered_model", lambda t: t.clear()),
    (registry_checks.values_sound, "breeding_values", lambda t: spoiled(t, "genotypic_value_reliability", 1.5)),
    (monitoring_checks.beats_baselines, "realised_accuracy",
     lambda t: t.with_columns(loses_to=pl.lit(["family mean"]))),
    (monitoring_checks.no_platform_fault, "drift_report", lambda t: t.with_columns(decision=pl.lit("platform"))),
    (monitoring_checks.same_base, "drift_report", lambda t: t.with_columns(decision=pl.lit("new_family"))),
    (monitoring_checks.close_relatives, "line_trust",
     lambda t: t.with_columns(trust=pl.lit("less"), phenotyped=pl.lit(False))),
    (accuracy_checks.inputs_as_before, "input_drift", lambda t: spoiled(t, "decision", "shifted")),
    (accuracy_checks.predictions_as_before, "prediction_drift", lambda t: spoiled(t, "decision", "changed")),
    (accuracy_checks.accuracy_as_promised, "accuracy_promise", lambda t: spoiled(t, "verdict", "below")),
]


@pytest.mark.parametrize(("check", "asset", "spoil"), BAD, ids=[c[0].check_key.name for c in BAD])
def test_every_check_passes_the_good_table_and_fails_the_bad_one(
        published: Published, check: dg.AssetChecksDefinition, asset: str, spoil: Callable[[Any], Any]) -> None:
    small = published(2)
    inputs = {name: read(small, name) for name in check.keys_by_input_name}
    good, bad = run_check(small, check, inputs), run_check(small, check, inputs | {asset: spoil(inputs[asset])})
    spec = next(iter(check.check_specs))
    assert good.passed or spec.name == "beats_baselines"
    assert not bad.passed
    severe = spec.blocking or spec.name == "no_platform_fault"
    assert bad.severity == (dg.AssetCheckSeverity.ERROR if severe else dg.AssetCheckSeverity.WARN)


def test_the_table_of_checks_is_complete() -> None:
    from genomic_platform.definitions import build_definitions

    assert {c[0].check_key.name for c in BAD} == {
        k.name for k in build_definitions().resolve_asset_graph().asset_check_keys}


def test_a_failed_blocking_check_stops_the_release(published: Published, opened: Opened) -> None:
    """Nobody grown in 2020 has genotypes: main, aliases and the season before stay as they were."""
    small = published(1)
    text = small.trials("2020").read_text().splitlines()
    small.trials("2020").write_text("\n".join([text[0], *(f"ungenotyped_{line}" for line in text[1:])]) + "\n")
    main, aliases = small.workspace.store.resolve(MAIN), small.workspace.registry.aliases(small.name)
    instance = opened(small)
    result = small.run(instance, "2020")
    assert not result.success
    failed = [e for e in result.get_asset_check_evaluations() if not e.passed]
    assert [(e.check_name, e.severity) for e in failed if e.blocking] == [
        ("lines_with_genotypes", dg.AssetCheckSeverity.ERROR)]
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert (run.tags["dagster/max_retries"], run.tags["dagster/will_retry"]) == ("0", "false")
    assert small.workspace.store.resolve(MAIN) == main
    assert small.main.published() == ["2019"]
    assert small.workspace.registry.aliases(small.name) == aliases


@pytest.mark.slow
def test_a_failed_warning_is_published_all_the_same(published: Published, opened: Opened) -> None:
    small = published(1)
    small.change_trials("2020", value=150.0)
    result = small.run(opened(small), "2020")
    assert result.success, failures_of(result)
    warned = {e.check_name: e.severity for e in result.get_asset_check_evaluations() if not e.passed}
    assert warned["values_in_range"] == dg.AssetCheckSeverity.WARN
    assert small.main.published() == ["2019", "2020"]


@pytest.mark.slow
def test_a_kill_between_merge_and_aliases_is_repaired_by_the_next_projection(
        published: Published, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    small = published(1)

    def killed(*_: object) -> dict[tuple[str, str], int]:
        raise SystemExit("killed between merge and projection")

    with monkeypatch.context() as patched:
        patched.setattr(release, "project", killed)
        assert set(failures_of(small.run(opened(small), "2020"))) == {"season_release"}
    assert small.main.published() == ["2019", "2020"]
    champion = champion_of(small)
    assert champion[1] == "2019"
    release.project(small.workspace, small.main, small.main.published())
    assert champion_of(small) == (decided(small, "2020"), "2020")
    before = small.workspace.registry.versions(small.name)
    release.project(small.workspace, small.main, small.main.published())
    assert small.workspace.registry.versions(small.name).equals(before)


@pytest.mark.slow
def test_replaying_an_earlier_season_does_not_move_the_champion_back(published: Published, opened: Opened) -> None:
    small = published(2)
    aliases = small.workspace.registry.aliases(small.name)
    assert champion_of(small) == (decided(small, "2020"), "2020")
    result = small.run(opened(small), "2019", tags={FORCE_TAG: "true"})
    assert result.success, failures_of(result)
    assert champion_of(small) == (decided(small, "2020"), "2020")
    assert small.workspace.registry.aliases(small.name) == aliases
    assert len(small.main.releases()["2019"]) == 2


def test_champion_and_challenger_are_what_was_decided(published: Published) -> None:
    small = published(2)
    decision = small.main.read("registered_model", "2020", ASSETS["registered_model"]).row(0, named=True)
    aliases = small.workspace.registry.aliases(small.name)[TRAIT]
    versions = {row["version"]: row for row in small.workspace.registry.versions(small.name).to_dicts()}
    assert versions[aliases["champion"]]["recipe"] == decision["recipe"]
    assert versions[aliases["champion"]]["model_version"] == decision["model_version"]
    assert versions[aliases["challenger"]]["recipe"] == decision["challenger"]
    assert versions[aliases["champion"]]["commit"] == small.main.releases()["2020"][-1]


def test_assets_that_do_not_belong_together_are_not_released(published: Published, opened: Opened) -> None:
    """Line means made anew from changed records, and everything after them as it was."""
    small = published(1)
    small.change_trials("2019")
    main = small.workspace.store.resolve(MAIN)
    again = small.run(opened(small), "2019", assets=["trial_records", "line_means"])
    assert again.success
    branch = small.main.at(f"run-{again.run_id}")
    with pytest.raises(release.NotAvailable, match=r"training_set \(made from another line_means\)"):
        release.release_record(branch, "2019", ("genomic_blup", "kernel"), again.run_id, "")
    assert small.workspace.store.resolve(MAIN) == main


def champion_of(small: Small) -> tuple[str, str]:
    """Recipe and season of the version the alias points at."""
    version = small.workspace.registry.aliases(small.name)[TRAIT]["champion"]
    row = small.workspace.registry.versions(small.name).filter(pl.col("version") == version).row(0, named=True)
    return row["recipe"], row["season"]


def decided(small: Small, season: str) -> str:
    return small.main.read("registered_model", season, ASSETS["registered_model"])["recipe"][0]
