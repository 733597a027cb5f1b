"""The registry on a real MLflow with SQLite, with a tiny recipe of its own (class `Additive` below)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from genomic_platform.errors import InputError, NotAvailable, StoreUnavailable
from genomic_platform.stores.mlflow import VERSIONS_SCHEMA, ModelRegistry
from genomic_platform.stores.mlflow_runs import DataInput, Point
from genomic_platform.stores.pyfunc import DosagePredictor, load_fitted

if TYPE_CHECKING:
    from mlflow.entities import Run

EFFECTS_MT = np.array([[1.0, 0.0], [0.5, -2.0], [0.0, 3.0]])
DOSAGE_NM = np.array([[0, 1, 2], [2, -1, 0]], dtype=np.int8)
LOAD_ELSEWHERE = """
import sys, json, logging, warnings
warnings.simplefilter("ignore")
import mlflow, numpy as np
mlflow.set_tracking_uri(sys.argv[1])
answers = []
for uri in sys.argv[2:]:
    model = mlflow.pyfunc.load_model(uri)
    answers.append(model.predict(np.array([[0, 1, 2], [2, -1, 0]], dtype=np.int8)).tolist())
assert "dagster" not in sys.modules
print(json.dumps([answers, model.metadata.signature.to_dict()]))
"""


class Additive:
    """Marker effects and nothing else; a missing call counts nothing."""

    traits = ("grain_yield", "height")
    n_markers = 3

    def __init__(self, effects_MT: np.ndarray) -> None:
        self.effects_MT = effects_MT

    def values_from_dosages(self, dosage_NM: np.ndarray) -> np.ndarray:
        return np.maximum(dosage_NM, 0) @ self.effects_MT

    def save(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "model.json").write_text(json.dumps({"class": f"{Path(__file__).stem}:Additive"}))
        np.save(folder / "effects.npy", self.effects_MT)

    @classmethod
    def load(cls, folder: Path) -> Additive:
        return cls(np.load(folder / "effects.npy"))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> ModelRegistry:
    """One for the module: MLflow takes seconds to make its tables. Each test has its own programme in it."""
    root = tmp_path_factory.mktemp("registry")
    return ModelRegistry(f"sqlite:///{root}/mlflow/mlflow.db", root / "model files")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    Additive(EFFECTS_MT).save(tmp_path / "model")
    return tmp_path / "model"


def log(registry: ModelRegistry, folder: Path, program: str, fingerprint: str = "f1", **changes: Any) -> str:
    given = {"params": {"lambda": 2.5, "markers": 3}, "points": [Point("fit/yield/h2", 0.5), Point("absent", None)],
             "tags": {"genomic_platform.code_version": "abc"}, **changes}
    with registry.candidate(program=program, season="2013", recipe="genomic_blup", fingerprint=fingerprint) as run_id:
        registry.log_candidate(run_id, folder=folder, **given)
    return run_id


def own_metrics(run: Run) -> dict[str, float]:
    """Those that were logged, without MLflow's own of the machine."""
    return {key: value for key, value in run.data.metrics.items() if not key.startswith("system/")}


def register(registry: ModelRegistry, program: str, run_id: str, trait: str = "grain_yield", season: str = "2013",
             decision: str = "initial") -> int:
    return registry.register(program=program, trait=trait, season=season, run_id=run_id, model_version="d1",
                             recipe="genomic_blup", decision=decision, commit="c" * 40, tags={"note": "größe"})


def test_a_candidate_is_one_run_and_its_second_logging_none(registry: ModelRegistry, folder: Path) -> None:
    run_id = log(registry, folder, "rice")
    assert log(registry, folder, "rice", params={"lambda": "another"}) == run_id
    other = log(registry, folder, "rice", fingerprint="f2")
    assert other != run_id
    with registry._speaking() as client:
        run = client.get_run(run_id)
        experiment = client.get_experiment_by_name("rice")
        assert experiment is not None
        assert len(client.search_runs([experiment.experiment_id])) == 2
    assert (run.info.run_name, run.info.status) == ("2013 genomic_blup", "FINISHED")
    assert run.data.params == {"lambda": "2.5", "markers": "3"}
    assert own_metrics(run) == {"fit/yield/h2": 0.5}
    assert run.data.tags["genomic_platform.season"] == "2013"
    assert run.data.tags["genomic_platform.code_version"] == "abc"


def test_a_killed_logging_is_finished_by_the_retry(registry: ModelRegistry, folder: Path) -> None:
    missing = folder.parent / "not saved yet"
    with pytest.raises(NotAvailable, match="expected a saved model"):
        log(registry, missing, "barley", params={"lambda": 1})
    run_id = log(registry, folder, "barley", params={"lambda": 1, "late": 2})
    with registry._speaking() as client:
        run = client.get_run(run_id)
        assert len(client.search_runs([run.info.experiment_id])) == 1
        assert len(client.get_metric_history(run_id, "fit/yield/h2")) == 1
    assert run.data.params == {"lambda": "1", "late": "2"}
    assert run.info.status == "FINISHED"


def test_many_params_and_metrics_go_in_several_calls(registry: ModelRegistry, folder: Path) -> None:
    run_id = log(registry, folder, "oats", params={f"p{i}": i for i in range(250)},
                 points=[*(Point(f"m{i}", i / 7) for i in range(1700)), Point("nan", float("nan"))])
    with registry._speaking() as client:
        run = client.get_run(run_id)
    assert (len(run.data.params), len(own_metrics(run))) == (250, 1700)


def test_a_failed_fit_is_a_failed_run_and_the_next_goes_on_with_it(registry: ModelRegistry, folder: Path) -> None:
    given = {"program": "rye", "season": "2013", "recipe": "genomic_blup", "fingerprint": "f1"}
    for error, status in ((ValueError("singular"), "FAILED"), (KeyboardInterrupt(), "KILLED")):
        with pytest.raises(type(error)), registry.candidate(**given) as failed:
            raise error
        with registry._speaking() as client:
            assert client.get_run(failed).info.status == status
    run_id = log(registry, folder, "rye")
    with registry._speaking() as client:
        assert client.get_run(run_id).info.status == "FINISHED"
    assert run_id == failed


def test_a_score_of_a_step_is_added_once(registry: ModelRegistry, folder: Path) -> None:
    run_id = log(registry, folder, "millet")
    folds = [Point("cv1/yield/r_fold", r, step) for step, r in enumerate((0.4, 0.6, 0.5))]
    for points in (folds, folds, [Point("forward/yield/r", 0.3, 2014)], folds):
        registry.add_scores(run_id, points, {"plots/folds.html": "<p>größe</p>"})
    content = registry.read_candidate(run_id)
    assert [p for p in content.points if p.key.startswith(("cv1", "forward"))] == [
        *folds, Point("forward/yield/r", 0.3, 2014)]
    assert content.pages == {"plots/folds.html": "<p>größe</p>"}
    registry.add_scores(run_id, [Point("cv1/yield/r_fold", 0.1, 2)], {})  # found anew, and other: the latest counts
    with registry._speaking() as client:
        assert client.get_run(run_id).data.metrics["cv1/yield/r_fold"] == 0.1


def test_what_a_model_was_fitted_on_goes_with_its_run(registry: ModelRegistry, folder: Path) -> None:
    means = DataInput("training_set", "d" * 64, "p/2013/training_set", "c" * 40, {"line_id": "String"}, {"num_rows": 7})
    calls = DataInput("genotype_panel", "e" * 64, "p/2013/genotype_panel", "c" * 40)
    run_id = log(registry, folder, "teff", data=[means, calls])
    with registry._speaking() as client:
        table, panel = (one.dataset for one in client.get_run(run_id).inputs.dataset_inputs)
    assert (table.name, table.digest, json.loads(table.profile)) == ("training_set", "d" * 36, {"num_rows": 7})
    assert json.loads(table.schema) == {"mlflow_colspec": [{"name": "line_id", "type": "string"}]}
    assert json.loads(panel.source) == {"path": "p/2013/genotype_panel", "data_version": "e" * 64,
                                        "run_began_at_commit": "c" * 40}


def test_the_machine_is_sampled_while_a_model_is_fitted(registry: ModelRegistry, folder: Path) -> None:
    pytest.importorskip("psutil", reason="no psutil, which MLflow samples the machine with")
    with registry._speaking() as client:
        sampled = client.get_run(log(registry, folder, "fonio")).data.metrics
    assert 0 <= sampled["system/cpu_utilization_percentage"] <= 100
    assert sampled["system/system_memory_usage_megabytes"] > 0
    assert not [t for t in threading.enumerate() if t.name == "SystemMetricsMonitor"]


@pytest.mark.slow
def test_the_model_loads_without_dagster(registry: ModelRegistry, folder: Path) -> None:
    run_id = log(registry, folder, "wheat")
    version = register(registry, "wheat", run_id)
    registry.set_alias("wheat", "grain_yield", "champion", version)
    uris = [f"runs:/{run_id}/model", "models:/wheat.grain_yield@champion"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    run = subprocess.run([sys.executable, "-c", LOAD_ELSEWHERE, registry.tracking_uri, *uris], capture_output=True,
                         text=True, env=environment)
    assert run.returncode == 0, run.stderr
    answers, signature = json.loads(run.stdout)
    expected = (np.maximum(DOSAGE_NM, 0) @ EFFECTS_MT).tolist()
    assert answers == [expected, expected]
    assert '"dtype": "int8", "shape": [-1, 3]' in signature["inputs"]
    assert '"dtype": "float64", "shape": [-1, 2]' in signature["outputs"]


def test_a_version_is_registered_once_and_carries_its_story(registry: ModelRegistry, folder: Path) -> None:
    run_id = log(registry, folder, "maize_a")
    first = register(registry, "maize_a", run_id)
    assert (first, register(registry, "maize_a", run_id)) == (1, 1)
    assert register(registry, "maize_a", run_id, season="2014", decision="refresh") == 2
    assert register(registry, "maize_a", run_id, trait="height") == 1
    register(registry, "maizeXa", log(registry, folder, "maizeXa"))
    table = registry.versions("maize_a")
    assert table.schema == VERSIONS_SCHEMA
    assert table.rows() == [("grain_yield", 1, "2013", "genomic_blup", "initial", "d1", "c" * 40, run_id),
                            ("grain_yield", 2, "2014", "genomic_blup", "refresh", "d1", "c" * 40, run_id),
                            ("height", 1, "2013", "genomic_blup", "initial", "d1", "c" * 40, run_id)]
    with registry._speaking() as client:
        tags = client.get_model_version("maize_a.grain_yield", "1").tags
    assert tags["genomic_platform.fingerprint"] == "f1"
    assert tags["note"] == "größe"


def test_aliases_move_and_go(registry: ModelRegistry, folder: Path) -> None:
    run_id = log(registry, folder, "rye_b")
    for season in ("2013", "2014"):
        register(registry, "rye_b", run_id, season=season)
    assert registry.aliases("rye_b") == {"grain_yield": {}}
    registry.set_alias("rye_b", "grain_yield", "champion", 1)
    registry.set_alias("rye_b", "grain_yield", "challenger", 2)
    registry.set_alias("rye_b", "grain_yield", "champion", 2)
    assert registry.aliases("rye_b") == {"grain_yield": {"champion": 2, "challenger": 2}}
    for _ in range(2):
        registry.set_alias("rye_b", "grain_yield", "challenger", None)
    assert registry.aliases("rye_b") == {"grain_yield": {"champion": 2}}


def test_what_is_missing_is_named(registry: ModelRegistry) -> None:
    assert registry.aliases("nothing") == {}
    assert registry.versions("nothing").is_empty()
    with pytest.raises(NotAvailable, match=r"nothing\.height"):
        registry.set_alias("nothing", "height", "champion", 3)
    with pytest.raises(NotAvailable, match="0123456789abcdef"):
        register(registry, "nothing", "0123456789abcdef0123456789abcdef")


def test_a_server_that_is_away_is_transient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:9"):
        ModelRegistry("http://127.0.0.1:9", tmp_path).aliases("rice")


@pytest.mark.slow
def test_nothing_is_printed(folder: Path, tmp_path: Path) -> None:
    script = ("import sys; from pathlib import Path; from genomic_platform.stores.mlflow import ModelRegistry\n"
              "root = Path(sys.argv[1]); registry = ModelRegistry(f'sqlite:///{root}/m.db', root / 'files')\n"
              "with registry.candidate(program='p_q', season='1', recipe='r', fingerprint='f') as run_id:\n"
              "    registry.log_candidate(run_id, params={}, points=[], tags={}, folder=root / 'model')\n")
    run = subprocess.run([sys.executable, "-W", "default", "-c", script, str(tmp_path)], capture_output=True, text=True,
                         env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)})
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_dosages_of_another_panel_are_refused(folder: Path) -> None:
    predictor = DosagePredictor(load_fitted(folder))
    assert predictor.predict(DOSAGE_NM).dtype == np.float64
    for wrong in (np.zeros((2, 4), np.int8), np.zeros(3, np.int8), np.full((1, 3), 3, np.int8)):
        with pytest.raises(InputError, match="dosage tensor"):
            predictor.predict(wrong)
