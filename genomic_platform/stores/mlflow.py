"""The MLflow registry: one run per candidate and season, one registered model per trait, aliases for what is in use.

With `mlflow_runs` the only module that imports MLflow, and only inside functions: it takes seconds. Here belong records
of models; which model becomes champion is decided elsewhere and told here. Reference: mlflow.org, Model Registry.
"""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import polars as pl

import genomic_platform
from genomic_platform.errors import NotAvailable, StoreError, StoreUnavailable
from genomic_platform.stores.lock import exclusive
from genomic_platform.stores.mlflow_runs import (
    MODEL_ARTIFACT,
    DataInput,
    Point,
    RunContent,
    log_batches,
    log_data,
    read_run,
    system_metrics,
    write_model,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

FINGERPRINT = "genomic_platform.fingerprint"
VERSIONS_SCHEMA = {"trait": pl.String, "version": pl.Int64, "season": pl.String, "recipe": pl.String,
                   "decision": pl.String, "model_version": pl.String, "commit": pl.String, "run_id": pl.String}

_HTTP_RETRIES = 2  # retrying is the caller's: Dagster waits between tries without holding a step for minutes
_TRANSIENT = {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
_MISSING = {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"}
_EXPERIMENT = {"mlflow.experimentKind": "custom_model_development"}  # else its page opens on prompts and traces
_CREATING_S = 120  # for another process to create the tables of a new workspace
_connecting = threading.Lock()
T = TypeVar("T", covariant=True)


class _Page(Protocol[T]):
    """One page of a search, with the token of the next."""

    @property
    def token(self) -> str | None: ...

    def __iter__(self) -> Iterator[T]: ...


class ModelRegistry:
    """Candidates as MLflow runs, registered versions and aliases of a workspace.

    Parameters
    ----------
    tracking_uri : `sqlite:///…` of a laptop, or `http(s)://…` of an MLflow server.
    artifact_root : folder of the model files; a server keeps them itself and this is not used.

    Raises
    ------
    StoreUnavailable : every method, when MLflow is away or busy.
    NotAvailable : a run, registered model or version that does not exist.
    """

    def __init__(self, tracking_uri: str, artifact_root: Path) -> None:
        self.tracking_uri = tracking_uri
        self.artifact_root = Path(artifact_root).absolute()
        self._connected: MlflowClient | None = None

    @contextmanager
    def candidate(self, *, program: str, season: str, recipe: str, fingerprint: str,
                  tags: Mapping[str, str] | None = None) -> Iterator[str]:
        """The run's id while a candidate is being fitted; the machine is sampled meanwhile (`system_metrics`).

        A run of the programme with the same fingerprint is gone on with, or, when it is finished, left as it is. When
        the block fails, so has the run.
        """
        known = {FINGERPRINT: fingerprint, "genomic_platform.program": program, "genomic_platform.season": season,
                 "genomic_platform.recipe": recipe}
        with self._speaking() as client:
            run = self._run(client, program, f"{season} {recipe}", {**(tags or {}), **known})
            run_id, finished = run.info.run_id, run.info.status == "FINISHED"
            if run.info.status in ("FAILED", "KILLED"):
                client.update_run(run_id, "RUNNING")
        if finished:
            yield run_id
            return
        try:
            with system_metrics(run_id, self.tracking_uri):
                yield run_id
        except BaseException as error:
            with suppress(StoreError, NotAvailable), self._speaking() as client:  # the error itself is what counts
                client.set_terminated(run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
            raise

    def log_candidate(self, run_id: str, *, params: Mapping[str, object], points: Iterable[Point],
                      tags: Mapping[str, str], folder: Path, data: Sequence[DataInput] = (),
                      pages: Mapping[str, str] | None = None) -> None:
        """Record a fitted candidate, unless its run is finished, and finish the run.

        Parameters
        ----------
        params, points, tags : what a reader wants to compare. data : what it was fitted on.
        folder : the model as it saved itself; it becomes the MLflow model `model/`. pages : path → HTML, kept beside.
        """
        with self._speaking() as client:
            run = client.get_run(run_id)
            if run.info.status == "FINISHED":
                return
            log_batches(client, run, params=params, points=points, tags=tags)
            log_data(client, run_id, data)
            with tempfile.TemporaryDirectory() as made:
                write_model(Path(made), folder, run_id)
                client.log_artifacts(run_id, made, MODEL_ARTIFACT)
                client.log_artifacts(run_id, str(folder), f"{MODEL_ARTIFACT}/data")
            for path, text in (pages or {}).items():
                client.log_text(run_id, text, path)
            client.set_terminated(run_id)  # last: a finished run is a whole one

    def add_scores(self, run_id: str, points: Iterable[Point], pages: Mapping[str, str]) -> None:
        """Add to a candidate's run what was found out later; what it has already is not added again."""
        with self._speaking() as client:
            log_batches(client, client.get_run(run_id), params={}, points=points, tags={})
            for path, text in pages.items():
                client.log_text(run_id, text, path)

    def read_candidate(self, run_id: str) -> RunContent:
        """What a candidate's run holds, without the model."""
        with self._speaking() as client, tempfile.TemporaryDirectory() as folder:
            return read_run(client, run_id, Path(folder))

    def register(self, *, program: str, trait: str, season: str, run_id: str, model_version: str, recipe: str,
                 decision: str, commit: str, tags: Mapping[str, str]) -> int:
        """Register a run's model as a version of `<program>.<trait>`; returns the version's number.

        A season's model is one version, whatever is decided on it later: its tag `decision` says the latest. The run's
        fingerprint is carried over.
        """
        name = f"{program}.{trait}"
        identity = {"season": season, "model_version": model_version}
        with self._speaking() as client:
            run = client.get_run(run_id)
            self._ensure_model(client, name)
            for present in _all_pages(lambda token: client.search_model_versions(f"name='{name}'", page_token=token)):
                if identity.items() <= present.tags.items():
                    if present.tags.get("decision") != decision:
                        client.set_model_version_tag(name, present.version, "decision", decision)
                    return int(present.version)
            carried = {FINGERPRINT: run.data.tags[FINGERPRINT]} if FINGERPRINT in run.data.tags else {}
            made = client.create_model_version(
                name, f"{run.info.artifact_uri}/{MODEL_ARTIFACT}", run_id, await_creation_for=0,
                tags={"genomic_platform.version": genomic_platform.__version__, **carried, **tags, **identity,
                      "decision": decision, "recipe": recipe, "commit": commit})
            return int(made.version)

    def log_texts(self, run_id: str, texts: Mapping[str, str]) -> str:
        """Keep files with a run, by path; gives the place of the first of them in MLflow's web pages."""
        with self._speaking() as client:
            for path, text in texts.items():
                client.log_text(run_id, text, path)
            experiment = client.get_run(run_id).info.experiment_id
        return f"#/experiments/{experiment}/runs/{run_id}/artifacts/{next(iter(texts))}"

    def require_ready(self) -> None:
        """Raise StoreUnavailable when the registry does not answer, before anything is begun that it must finish."""
        with self._speaking() as client:
            client.search_registered_models(max_results=1)

    def set_alias(self, program: str, trait: str, alias: str, version: int | None) -> None:
        """Point `alias` of `<program>.<trait>` at a version, or (None) remove it."""
        name = f"{program}.{trait}"
        with self._speaking() as client:
            if version is not None:
                client.set_registered_model_alias(name, alias, str(version))
            elif alias in client.get_registered_model(name).aliases:
                client.delete_registered_model_alias(name, alias)

    def aliases(self, program: str) -> dict[str, dict[str, int]]:
        """`{trait: {alias: version}}` of every registered trait of the programme."""
        with self._speaking() as client:
            found = _all_pages(lambda token: client.search_registered_models(f"name LIKE '{program}.%'",
                                                                             page_token=token))
            return {model.name.removeprefix(f"{program}."): {alias: int(v) for alias, v in model.aliases.items()}
                    for model in found if model.name.startswith(f"{program}.")}

    def versions(self, program: str) -> pl.DataFrame:
        """All versions of the programme's models, sorted by trait and version (columns `VERSIONS_SCHEMA`)."""
        with self._speaking() as client:
            found = _all_pages(lambda token: client.search_model_versions(f"name LIKE '{program}.%'",
                                                                          page_token=token))
            # LIKE takes the underscore of a name for any character.
            rows = [{"trait": v.name.removeprefix(f"{program}."), "version": int(v.version), "run_id": v.run_id,
                     **{tag: v.tags.get(tag) for tag in ("season", "recipe", "decision", "model_version", "commit")}}
                    for v in found if v.name.startswith(f"{program}.")]
        return pl.DataFrame(rows, schema=VERSIONS_SCHEMA).sort("trait", "version")

    @contextmanager
    def _speaking(self) -> Iterator[MlflowClient]:
        with _connecting:
            _import_quietly()
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import OperationalError
        try:
            yield self._client()
        except MlflowException as error:
            raise _translated(error, self.tracking_uri) from error
        except (OperationalError, ConnectionError) as error:
            raise StoreUnavailable(f"MLflow at {self.tracking_uri} cannot be reached: {error}") from error

    def _client(self) -> MlflowClient:
        from mlflow import MlflowClient
        with _connecting:  # two threads or processes at once would both create the tables
            if self._connected is None and self.tracking_uri.startswith("sqlite:///"):
                folder = Path(self.tracking_uri.removeprefix("sqlite:///")).parent
                folder.mkdir(parents=True, exist_ok=True)
                with exclusive(folder / ".connecting", _CREATING_S):
                    self._connected = MlflowClient(self.tracking_uri, self.tracking_uri)
            elif self._connected is None:
                self._connected = MlflowClient(self.tracking_uri, self.tracking_uri)
            return self._connected

    def _run(self, client: MlflowClient, program: str, name: str, tags: Mapping[str, str]) -> Run:
        experiment = self._experiment(client, program)
        wanted = f"tags.`{FINGERPRINT}` = '{tags[FINGERPRINT]}'"
        found = client.search_runs([experiment], wanted, max_results=1)
        return found[0] if found else client.create_run(experiment, run_name=name, tags=dict(tags))

    def _experiment(self, client: MlflowClient, program: str) -> str:
        from mlflow.exceptions import MlflowException
        location = None if self.tracking_uri.startswith("http") else (self.artifact_root / program).as_uri()
        found = client.get_experiment_by_name(program)
        if found is None:
            try:
                return client.create_experiment(program, artifact_location=location, tags=_EXPERIMENT)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = client.get_experiment_by_name(program)  # another process was quicker
        if found is None:
            raise StoreUnavailable(f"MLflow at {self.tracking_uri}: experiment {program} came and went; try again")
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return found.experiment_id

    def _ensure_model(self, client: MlflowClient, name: str) -> None:
        from mlflow.exceptions import MlflowException
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


def _import_quietly() -> None:
    """Import MLflow with its telemetry off, few retries and no lines of its own on the terminal."""
    import mlflow.telemetry
    from mlflow import environment_variables as variables
    if not variables.MLFLOW_DISABLE_TELEMETRY.get():
        variables.MLFLOW_DISABLE_TELEMETRY.set(True)
        mlflow.telemetry.set_telemetry_client()
    variables.MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.set(True)
    variables.MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)
    if not variables.MLFLOW_HTTP_REQUEST_MAX_RETRIES.is_set():
        variables.MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(_HTTP_RETRIES)
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # its errors are raised as well


def _translated(error: Exception, tracking_uri: str) -> NotAvailable | StoreError:
    code = getattr(error, "error_code", "")
    cause = error.__cause__ or error.__context__
    if code in _MISSING:
        return NotAvailable(f"MLflow at {tracking_uri}: {error}")
    if code in _TRANSIENT or isinstance(cause, OSError):  # requests' errors are OSErrors
        return StoreUnavailable(f"MLflow at {tracking_uri} is away or busy: {error}")
    return StoreError(f"MLflow at {tracking_uri} refused: {error}")


def _all_pages(search: Callable[[str | None], _Page[T]]) -> list[T]:
    found: list[T] = []
    token: str | None = None
    while True:
        page = search(token)
        found += page
        token = page.token
        if not token:
            return found
