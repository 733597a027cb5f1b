"""What made the platform act, what it did, and whether that helped: read off releases and alerts.

Whether it helped is told twice. At the release: what the recipe that took over, and each challenger that was tried,
had gained on seasons neither had seen.
After the next harvest: the retrained model beside the one it took over from (RETRAINING_EFFECT).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from genomic_platform.catalogue import ASSETS
from genomic_platform.executors.season_queue import PROGRAM_TAG
from genomic_platform.models.recipes import RECIPES
from genomic_platform.retraining.challengers import CALLING, CAUSE_TAG, RETRAINING_TAG, calls, kind_of
from genomic_platform.runs import failure_reason
from genomic_platform.stores.assets import RELEASE, AssetStore
from genomic_platform.workspace import Workspace


@dataclass(frozen=True)
class Entry:
    """One trigger: what it was, what was done (with the run's id where one was started), what it brought."""

    time: datetime
    season: str
    kind: str
    trigger: str
    done: str
    helped: str
    run_id: str | None = None


def history(program: str, workspace: Workspace) -> list[Entry]:
    """Every release with what caused it, every retraining that failed, every cause that started nothing; by time."""
    main = AssetStore(workspace.store, program)
    started = [*_releases(main), *_failed(program, workspace)]
    answered = {(entry.season, entry.kind) for entry in started}
    told = [Entry(alert.time, alert.season or "", alert.kind, f"{alert.what} ({alert.how_sure})", alert.done, "–")
            for alert in workspace.alerts.alerts(program) if alert.kind in CALLING
            and (alert.season, alert.kind) not in answered]
    return sorted([*started, *told], key=lambda entry: entry.time)


def _releases(main: AssetStore) -> Iterator[Entry]:
    times = {commit.id: commit.time for commit in main.store.log(main.ref)}
    published = main.published()
    for season, commits in main.releases().items():
        later = next((s for s in published if s > season), None)
        known: set[str] = set()
        for number, commit in enumerate(commits):
            view = main.at(commit)
            record = view.record(RELEASE, season)
            if record is None:
                continue
            cause = record.extra.get("cause", "")
            trigger = cause.partition(": ")[2] or ("new data" if number == 0 else "changed data, or by hand")
            # The next harvest judges the release that stood when it came.
            effect = _effect(main, later) if later and commit == commits[-1] else ""
            tried = _tried(view, season, set(record.inputs) - known) if calls(cause) else ""
            known = set(record.inputs)
            yield Entry(times[commit], season, kind_of(cause), trigger, _decisions(view, season) + tried,
                        "; ".join(filter(None, [_gain(view, season), effect])) or "not known before the next harvest",
                        record.run_id)


def _failed(program: str, workspace: Workspace) -> Iterator[Entry]:
    """Retrainings that ended without a release, each by its last try."""
    import dagster as dg

    if not (workspace.dagster_home / "dagster.yaml").is_file():
        return
    with dg.DagsterInstance.from_config(str(workspace.dagster_home)) as instance:
        wanted = dg.RunsFilter(tags={PROGRAM_TAG: program, RETRAINING_TAG: "true"})
        seen: set[str] = set()
        for record in instance.get_run_records(wanted):  # newest first
            run = record.dagster_run
            root = run.root_run_id or run.run_id
            if root not in seen and run.status in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED):
                cause = run.tags.get(CAUSE_TAG, "")
                yield Entry(record.create_timestamp, run.tags["dagster/partition"].partition(":")[2], kind_of(cause),
                            cause.partition(": ")[2], f"not published, all stays as it was: "
                            f"{failure_reason(instance, run.run_id)}", "–", run.run_id)
            seen.add(root)


def _decisions(view: AssetStore, season: str) -> str:
    table = view.read("registered_model", season, ASSETS["registered_model"])
    said = []
    for decision, rows in table.sort("trait").group_by("decision", maintain_order=True):
        traits = ", ".join(f"{trait} ({recipe})" for trait, recipe in rows.select("trait", "recipe").iter_rows())
        said.append(f"{decision[0]}: {traits}")
    return "; ".join(said)


def _tried(view: AssetStore, season: str, joined: set[str]) -> str:
    """How recipes that joined for this release compare with each trait's champion on seasons neither had seen."""
    table = view.read("recipe_differences", season, ASSETS["recipe_differences"]).filter(level="mean")
    rows = table.drop_nulls(["difference", "lower"]).sort("trait")
    said = []
    for recipe in sorted(name for name in joined if name in RECIPES or ":" in name):
        own = rows.filter(challenger=recipe).to_dicts()
        said += [f"tried {recipe} against {r['champion']}, {r['trait']}: r {r['difference']:+.3f} (lower bound "
                 f"{r['lower']:+.3f}) on {r['n_seasons']} seasons" for r in own]
        said += [] if own else [f"tried {recipe}: no earlier season to compare it on"]
    return "".join(f"; {words}" for words in said)


def _gain(view: AssetStore, season: str) -> str:
    """What recipes that took over had gained on seasons that neither had seen."""
    replaced = view.read("registered_model", season, ASSETS["registered_model"]).filter(decision="replace")
    if replaced.is_empty():
        return ""
    gains = view.read("recipe_differences", season, ASSETS["recipe_differences"]).filter(level="mean").join(
        replaced, left_on=["trait", "challenger"], right_on=["trait", "recipe"], how="semi")
    return "; ".join(f"{r['trait']}: r {r['difference']:+.3f} on {r['n_seasons']} unseen seasons" for r in
                     gains.drop_nulls("difference").to_dicts())


def _effect(main: AssetStore, later: str) -> str:
    release = main.record(RELEASE, later)
    if release is None or "retraining_effect" not in release.inputs:
        return ""
    table: pl.DataFrame = main.read("retraining_effect", later, ASSETS["retraining_effect"])
    return "; ".join(f"harvest {later}, {r['trait']}: {r['helped']} (r {r['difference']:+.3f}, 95 % {r['lower']:+.3f} "
                     f"to {r['upper']:+.3f})" for r in table.drop_nulls(["difference", "lower", "upper"]).to_dicts())
