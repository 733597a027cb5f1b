"""What the graph is made of, that Dagster's own checker accepts it, and what loading it costs."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from genomic_platform.catalogue import ASSETS
from genomic_platform.definitions import build_definitions
from genomic_platform.defs.partitions import field_season
from genomic_platform.models.recipes import RECIPES
from genomic_platform.stores.assets import TableCodec

ROOT = Path(__file__).resolve().parents[2]
GROUPS = {
    "landing": {"landing_genotypes", "landing_trials", "landing_lines", "landing_pedigree", "landing_environments"},
    "genotypes": {"genotype_batch", "genotype_panel", "batch_report", "genotype_qc", "relationship_matrix",
                  "population_structure", "parentage"},
    "phenotypes": {"trial_records", "line_records", "pedigree", "daily_weather", "environment_records",
                   "environment_features", "line_means"},
    "training": {"training_set", "forward_predictions", "recipe_differences", "model_comparison"},
    "candidates": {*RECIPES, "further_candidates"},
    "registry": {"registered_model", "breeding_values", "selection_index", "season_release"},
    "monitoring": {"realised_accuracy", "drift_report", "population_shift", "line_trust", "input_drift",
                   "prediction_drift", "accuracy_promise", "evidently_report", "retraining_effect", "season_report"},
    "costs": {"cost_ledger"},
}
READERS = {"landing_genotypes": {"genotype_batch"}, "landing_trials": {"trial_records", "line_records"},
           "landing_lines": {"genotype_panel", "batch_report", "pedigree", "trial_records", "line_records"},
           "landing_pedigree": {"pedigree"},
           "landing_environments": {"daily_weather", "environment_records"}}
HEAVY = ("torch", "mlflow", "evidently", "sklearn", "ray")
LOAD = """
import sys, time
began = time.perf_counter()
{code}
print(time.perf_counter() - began, *[m for m in {heavy!r} if m in sys.modules])
"""


@pytest.fixture(scope="module")
def specs() -> dict[str, dg.AssetSpec]:
    return {s.key.to_user_string(): s for s in build_definitions().resolve_all_asset_specs()}


def test_graph_has_the_assets_of_the_architecture_in_their_groups(specs: dict[str, dg.AssetSpec]) -> None:
    found: dict[str, set[str]] = {}
    for name, spec in specs.items():
        found.setdefault(spec.group_name or "", set()).add(name)
    assert found == GROUPS
    assert set(ASSETS) == set().union(*GROUPS.values()) - GROUPS["landing"] - GROUPS["candidates"] - GROUPS["costs"] - {
        "season_release"}


def test_every_asset_says_what_it_is_and_is_partitioned_by_season(specs: dict[str, dg.AssetSpec]) -> None:
    for name, spec in specs.items():
        assert spec.partitions_def == (None if name in GROUPS["costs"] else field_season), name
        assert spec.owners, name
        assert spec.kinds, name
        assert len(spec.kinds) <= 10, name
        assert spec.description, name
        assert spec.description.strip().endswith("."), name
        assert spec.code_version or name in GROUPS["landing"], name


def test_tables_show_their_columns(specs: dict[str, dg.AssetSpec]) -> None:
    for name, codec in ASSETS.items():
        if isinstance(codec, TableCodec):
            schema = specs[name].metadata["dagster/column_schema"]
            assert isinstance(schema, dg.TableSchema), name
            assert [c.name for c in schema.columns] == [c.name for c in codec.contract.columns], name
            assert all(c.description for c in schema.columns), name


def test_lineage_starts_at_the_landing_files(specs: dict[str, dg.AssetSpec]) -> None:
    readers = {landing: {name for name, spec in specs.items() if landing in
                         {d.asset_key.to_user_string() for d in spec.deps}} for landing in READERS}
    assert readers == READERS


def test_the_release_waits_for_every_asset_and_blocking_check() -> None:
    graph = build_definitions().resolve_asset_graph()
    above: set[str] = set()
    following = {"season_release"}
    while following:
        following = {p.to_user_string() for name in following for p in graph.get(dg.AssetKey(name)).parent_keys} - above
        above |= following
    assert above == set(ASSETS) | GROUPS["landing"] | GROUPS["candidates"]
    specs = {key.name: graph.get_check_spec(key) for key in graph.asset_check_keys}
    blocking = {name for name, spec in specs.items() if spec.blocking}
    assert blocking == {"trial_records_schema", "no_duplicated_lines", "pedigree_schema", "one_mean_a_line",
                        "lines_with_genotypes", "enough_variants", "nothing_later", "enough_training_lines",
                        "comparison_complete", "every_trait_decided", "values_sound"}
    assert set(specs) - blocking == {"values_in_range", "beats_baselines", "no_platform_fault", "same_base",
                                     "close_relatives", "inputs_as_before", "predictions_as_before",
                                     "accuracy_as_promised"}
    for name, spec in specs.items():
        assert spec.description, name
        assert spec.partitions_def == field_season, name


def test_job_runs_the_whole_season_and_the_sensors_are_on() -> None:
    definitions = build_definitions()
    job = definitions.resolve_job_def("train_season")
    selected = {key.to_user_string() for key in job.asset_layer.executable_asset_keys}
    assert selected == set(ASSETS) | GROUPS["candidates"] | {"season_release"}
    assert job.executor_def == dg.in_process_executor
    books = definitions.resolve_job_def("keep_books")
    assert {key.to_user_string() for key in books.asset_layer.executable_asset_keys} == GROUPS["costs"]
    sensors = [s for s in definitions.sensors or () if isinstance(s, dg.SensorDefinition)]
    assert {s.name: s.default_status for s in sensors} == dict.fromkeys(
        ("landing_sensor", "retraining_sensor", "alert_sensor"), dg.DefaultSensorStatus.RUNNING)
    schedules = [s for s in definitions.schedules or () if isinstance(s, dg.ScheduleDefinition)]
    assert {s.name: s.default_status for s in schedules} == dict.fromkeys(
        ("keep_books_daily", "season_schedule"), dg.DefaultScheduleStatus.RUNNING)


def _loaded(code: str) -> tuple[float, list[str]]:
    program = LOAD.format(code=code, heavy=HEAVY)
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    seconds, *heavy = told.stdout.split()
    return float(seconds), heavy


@pytest.mark.slow
def test_loading_is_light() -> None:
    """Calling the decorated function, as every Dagster process does; the median of three pairs."""
    call = "import genomic_platform.definitions as d; d.definitions()"
    pairs = [(_loaded("import dagster"), _loaded(call)) for _ in range(3)]
    assert {name for _, (_, heavy) in pairs for name in heavy} == set()
    assert statistics.median(ours / dagster for (dagster, _), (ours, _) in pairs) < 3


@pytest.mark.slow
def test_dg_check_defs_passes() -> None:
    told = subprocess.run([sys.executable, "-m", "dagster_dg_cli.cli", "check", "defs"], cwd=ROOT, text=True,
                          capture_output=True, check=False)
    assert told.returncode == 0, json.dumps([told.stdout[-3000:], told.stderr[-3000:]])
