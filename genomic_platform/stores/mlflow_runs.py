"""What a candidate's run in MLflow holds: parameters, metrics by step, data sets, the model's files, system metrics.

Here belongs how a run is written and read; which runs there are is `mlflow.ModelRegistry`'s. Imports MLflow inside
functions only. Reference: mlflow.org, Tracking.
"""

from __future__ import annotations

import importlib.util
import json
import math
import platform
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import genomic_platform
from genomic_platform.stores.pyfunc import load_fitted

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

MODEL_ARTIFACT, PLOTS = "model", "plots"
_PARAMS_PER_CALL, _METRICS_PER_CALL, _TAGS_PER_CALL = 100, 800, 100  # MLflow's limits: 100, 1000, 100
_LONGEST_PARAM, _LONGEST_DIGEST = 6000, 36
_SAMPLED_EVERY_S = 10
_COLUMN_TYPES = {"String": "string", "Float64": "double", "Int64": "long", "Boolean": "boolean"}


class Point(NamedTuple):
    """One value of a metric; None and what is not finite are left out."""

    key: str
    value: float | None
    step: int = 0


@dataclass(frozen=True)
class DataInput:
    """An asset that a candidate was fitted on.

    Attributes
    ----------
    digest : its data version. path, commit : where it lies in the versioned store, and the commit the run began from.
    columns : name → Polars type, of a table. counts : rows, lines or markers, for a person.
    """

    name: str
    digest: str
    path: str
    commit: str
    columns: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class RunContent:
    """A run as another tracker can be told of it. `points` : in order of key and step. `pages` : path → HTML."""

    id: str
    name: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    points: Sequence[Point]
    pages: Mapping[str, str]


def log_batches(client: MlflowClient, run: Run, *, params: Mapping[str, object], points: Iterable[Point],
                tags: Mapping[str, str]) -> None:
    """Log what the run does not have yet; a parameter, once logged, cannot change.

    A metric of several steps is left as it is when its last step has the value it would get.
    """
    from mlflow.entities import Metric, Param, RunTag
    now_ms = time.time_ns() // 1_000_000
    found = [Metric(p.key, float(p.value), now_ms, p.step) for p in points
             if p.value is not None and math.isfinite(p.value)]
    last = {m.key: m.value for m in sorted(found, key=lambda m: m.step)}
    metrics = [m for m in found if run.data.metrics.get(m.key) != last[m.key]]
    new_params = [Param(key, str(value)[:_LONGEST_PARAM]) for key, value in params.items()
                  if key not in run.data.params]
    new_tags = [RunTag(key, value) for key, value in tags.items() if run.data.tags.get(key) != value]
    whole = (len(metrics) <= _METRICS_PER_CALL and len(new_params) <= _PARAMS_PER_CALL
             and len(new_tags) <= _TAGS_PER_CALL)
    if whole:  # one call, one transaction
        if metrics or new_params or new_tags:
            client.log_batch(run.info.run_id, metrics, new_params, new_tags)
        return
    for start in range(0, len(new_params), _PARAMS_PER_CALL):
        client.log_batch(run.info.run_id, params=new_params[start:start + _PARAMS_PER_CALL])
    for start in range(0, len(metrics), _METRICS_PER_CALL):
        client.log_batch(run.info.run_id, metrics=metrics[start:start + _METRICS_PER_CALL])
    for start in range(0, len(new_tags), _TAGS_PER_CALL):
        client.log_batch(run.info.run_id, tags=new_tags[start:start + _TAGS_PER_CALL])


def log_data(client: MlflowClient, run_id: str, inputs: Sequence[DataInput]) -> None:
    """Log the data sets of a run. MLflow keeps 36 characters of a digest; the source has it whole."""
    from mlflow.entities import Dataset, DatasetInput, InputTag
    made = []
    for one in inputs:
        columns = [{"name": name, "type": _COLUMN_TYPES.get(dtype, "string")} for name, dtype in one.columns.items()]
        source = {"path": one.path, "data_version": one.digest, "run_began_at_commit": one.commit}
        made.append(DatasetInput(
            Dataset(one.name, one.digest[:_LONGEST_DIGEST], "genomic_platform", json.dumps(source),
                    json.dumps({"mlflow_colspec": columns}) if columns else None,
                    json.dumps(one.counts) if one.counts else None),
            [InputTag("mlflow.data.context", "training")]))
    if made:
        client.log_inputs(run_id, made)


def write_model(made: Path, folder: Path, run_id: str) -> None:
    """Write MLmodel and its environment for the model saved in `folder`, which goes beside them as `data/`.

    By hand, since `mlflow.pyfunc.save_model` asks pip what is installed (0.7 s) and warns that there is no example.
    """
    import mlflow
    import numpy as np
    from mlflow.models import Model, ModelSignature
    from mlflow.types.schema import Schema, TensorSpec
    fitted = load_fitted(folder)
    signature = ModelSignature(inputs=Schema([TensorSpec(np.dtype(np.int8), (-1, fitted.n_markers))]),
                               outputs=Schema([TensorSpec(np.dtype(np.float64), (-1, len(fitted.traits)))]))
    flavor = {"loader_module": "genomic_platform.stores.pyfunc", "data": "data", "code": None, "streamable": False,
              "python_version": platform.python_version(), "env": {"virtualenv": "python_env.yaml"}}
    Model(artifact_path=MODEL_ARTIFACT, run_id=run_id, signature=signature, flavors={"python_function": flavor},
          metadata={"traits": list(fitted.traits)}).save(str(made / "MLmodel"))
    (made / "requirements.txt").write_text(f"genomic-platform=={genomic_platform.__version__}\n"
                                           f"mlflow=={mlflow.__version__}\nnumpy=={np.__version__}\n")
    (made / "python_env.yaml").write_text(f"python: {platform.python_version()}\nbuild_dependencies: [pip]\n"
                                          "dependencies: [-r requirements.txt]\n")


@contextmanager
def system_metrics(run_id: str, tracking_uri: str) -> Iterator[None]:
    """MLflow's own sampling of the machine (`system/…`) while the block runs, with a last sample at its end.

    Every 10 s, or as MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL says. Nothing without the package psutil; graphics cards
    need nvidia-ml-py as well.
    """
    if importlib.util.find_spec("psutil") is None:
        yield
        return
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
    monitor = SystemMetricsMonitor(run_id, _SAMPLED_EVERY_S, tracking_uri=tracking_uri, resume_logging=True)
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()
        monitor.collect_metrics()  # so that a fit shorter than the interval has a sample, too
        monitor.publish_metrics(monitor.aggregate_metrics())
        monitor.mlflow_logger.flush()


def read_run(client: MlflowClient, run_id: str, folder: Path) -> RunContent:
    """Everything a run holds but the model; its HTML pages come by way of `folder`."""
    run = client.get_run(run_id)
    points = [Point(m.key, m.value, m.step) for key in sorted(run.data.metrics)
              for m in sorted(client.get_metric_history(run_id, key), key=lambda m: (m.step, m.timestamp))]
    pages = {artifact.path: Path(client.download_artifacts(run_id, artifact.path, str(folder))).read_text("utf-8")
             for artifact in client.list_artifacts(run_id, PLOTS)}
    return RunContent(run_id, run.info.run_name or run_id, run.data.params, run.data.tags, points, pages)


def told(content: RunContent) -> dict[str, Any]:
    """The run as JSON can carry it."""
    return asdict(content) | {"points": [list(p) for p in content.points]}
