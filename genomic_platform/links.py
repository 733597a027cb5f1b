"""Addresses for a person's browser: a commit in lakeFS, a run or an asset in Dagster, a run in MLflow, a drift page."""

from __future__ import annotations

from genomic_platform.settings import Settings


def pages(settings: Settings, folder: str) -> str:
    """Where a person looks: the services' addresses where they are set, else the command that serves the pages."""
    served = {"Dagster": settings.dagster_url, "MLflow": settings.mlflow_url, "lakeFS": settings.lakefs_url,
              "Evidently": settings.evidently_url}
    if settings.dagster_url:
        return "   ".join(f"{name} {address}" for name, address in served.items() if address)
    return f"genomic-platform ui {folder} (Dagster, MLflow)"


def dagster_run(settings: Settings, run_id: str) -> str:
    """The page of a Dagster run, or "" when no address of the web UI is set."""
    return f"{settings.dagster_url.rstrip('/')}/runs/{run_id}" if settings.dagster_url else ""


def dagster_asset(settings: Settings, asset: str) -> str:
    """The page of an asset in Dagster, or "" when no address of the web UI is set."""
    return f"{settings.dagster_url.rstrip('/')}/assets/{asset}" if settings.dagster_url else ""


def lakefs_commit(settings: Settings, commit: str) -> str:
    """The page of a commit of the versioned store, or "" for the embedded store."""
    base = (settings.lakefs_url or settings.lakefs_endpoint).rstrip("/")
    return f"{base}/repositories/{settings.lakefs_repository}/commits/{commit}" if base else ""


def mlflow_page(settings: Settings, place: str) -> str:
    """A place in MLflow's web pages."""
    return f"{settings.mlflow_url.rstrip('/') or f'http://{settings.host}:{settings.mlflow_port}'}/{place}"


def evidently_page(settings: Settings, project: str, report: str) -> str:
    """A report in Evidently's web pages."""
    base = settings.evidently_url.rstrip("/") or f"http://{settings.host}:{settings.evidently_port}"
    return f"{base}/projects/{project}/reports/{report}"
