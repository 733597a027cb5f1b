"""Deciding and proving: rollback, approve, reject, publish, sweep, and the audit log."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter, validators

from genomic_platform.commands.console import Flag, Folder, Json, app, opened, out
from genomic_platform.commands.seasons import RunFailed
from genomic_platform.errors import GenomicPlatformError, counted

Trait = Annotated[str, Parameter(help="The trait decided on.")]
Reason = Annotated[str, Parameter(help="Why, in words; kept with the decision and in the audit log.")]
Days = Annotated[float, Parameter(validator=validators.Number(gte=0))]

audit = App(name="audit", help="The audit log of the programme's workspace.", sort_key=35)
app.command(audit)


@app.command(sort_key=20)
def rollback(folder: Folder, *, trait: Trait, reason: Reason, to: int | None = None) -> None:
    """Put an earlier model back as a trait's champion, at once; it stays until somebody approves a change.

    Parameters
    ----------
    to
        Version in the registry; the champion before the present one when not given.
    """
    from genomic_platform.stores.deciding import roll_back

    program, workspace = opened(folder)
    _said(roll_back(workspace, program.name, trait, reason=reason, who=workspace.settings.who, to=to),
          "is pinned until `approve`")


@app.command(sort_key=21)
def approve(folder: Folder, *, trait: Trait, reason: Reason) -> None:
    """Make the model that waits champion of a trait; where none waits, lift the pin of a rollback."""
    from genomic_platform.stores.deciding import approve as decide

    program, workspace = opened(folder)
    _said(decide(workspace, program.name, trait, reason=reason, who=workspace.settings.who), "is free to change")


@app.command(sort_key=22)
def reject(folder: Folder, *, trait: Trait, reason: Reason) -> None:
    """Turn down the model that waits for approval; the champion stays."""
    from genomic_platform.stores.deciding import reject as decide

    program, workspace = opened(folder)
    _said(decide(workspace, program.name, trait, reason=reason, who=workspace.settings.who), "stays")


def _said(decided: object, state: str) -> None:
    from genomic_platform.stores.deciding import Decided

    assert isinstance(decided, Decided)
    version = f" (version {decided.version})" if decided.version else ""
    out.print(f"{decided.trait}: {decided.decision}. Champion now: {decided.recipe} trained through season "
              f"{decided.trained_through}{version}; it {state}. Commit {decided.commit[:12]}.")


@app.command(sort_key=25)
def publish(folder: Folder, run: str) -> None:
    """Finish a run that was not published: what it made is kept, what is missing is made, all checks are run again.

    Parameters
    ----------
    run
        The run's id in Dagster, or the beginning of it.
    """
    from genomic_platform.abandoned import unpublished_run
    from genomic_platform.runs import run_seasons

    program, workspace = opened(folder)
    run_id, season = unpublished_run(workspace, program.name, run)
    (outcome,) = run_seasons(program, workspace, [season], continues=run_id)
    if not outcome.published:
        raise RunFailed(f"season {season} was not published (run {outcome.run_id[:8]}):\n{outcome.reason}")
    out.print(f"season {season} is published, on what run {run_id[:8]} had made ({outcome.seconds:.1f} s)")


@app.command(sort_key=26)
def sweep(folder: Folder, *, older_than: Days = 7.0, dry_run: Flag = False) -> None:
    """Remove what runs that ended without being published left: branches of the store, checkpoints of trainings.

    Parameters
    ----------
    older_than
        Days since the run ended.
    dry_run
        Only say what would be removed.
    """
    from genomic_platform.abandoned import abandoned
    from genomic_platform.abandoned import sweep as remove

    program, workspace = opened(folder)
    found = (abandoned if dry_run else remove)(workspace, program.name, older_than)
    for item in found:
        out.print(f"{item.name}: " + (f"season {item.season}, ended {item.days:.1f} days ago" if item.season else
                                 "a decision that was killed half-way"))
    trainings = sum(item.checkpoints is not None for item in found)
    out.print(f"{counted(len(found) - trainings, 'branch', 'branches')} {'would be ' if dry_run else ''}removed"
              + (f", and checkpoints of {counted(trainings, 'training')}" if trainings else ""))


class NotReproduced(GenomicPlatformError):
    """A refitted version is not what was registered."""


@app.command(sort_key=27)
def reproduce(folder: Folder, *, model: Trait, version: int) -> None:
    """Fit a registered version again from its recorded data, settings and seed, and say whether it is identical.

    Parameters
    ----------
    model
        The trait whose model it is.
    version
        Version in the registry.
    """
    from genomic_platform.results.reproduce import reproduce as again

    found = again(*opened(folder), model, version)
    out.print(f"{model} version {version}: {found.recipe} trained through season {found.trained_through}, fitted again "
              f"from commit {found.commit[:12]}")
    for said in found.differs:
        out.print(f"  {said}")
    if not found.identical:
        raise NotReproduced(f"not identical: values differ by at most {found.largest_difference:.2g} standard "
                            "deviations" + ("" if found.differs else ", and nothing known differs"))
    out.print("identical, to the bit" + ("" if found.differs else ": same code, processor, threads and versions"))


class LogBroken(GenomicPlatformError):
    """The audit log is not as it was written."""


@audit.command
def verify(folder: Folder) -> None:
    """Say whether any line of the audit log was edited, removed, reordered or cut."""
    from genomic_platform.stores.projection import verify_audit

    _, workspace = opened(folder)
    if findings := verify_audit(workspace):
        raise LogBroken(f"{workspace.audit.path} is not as it was written:\n" + "\n".join(map(str, findings)))
    head = workspace.audit.head()
    out.print(f"{workspace.audit.path}: {counted(head.count, 'line')}, whole; newest hash {head.hash[:16]}")


@audit.command
def show(folder: Folder, *, json_: Json = False) -> None:
    """Print the programme's lines of the audit log, oldest first.

    Parameters
    ----------
    json_
        The lines as they stand in the file.
    """
    import json

    program, workspace = opened(folder)
    for entry in workspace.audit.entries(program.name):
        what = ", ".join(f"{name} {value}" for name, value in entry["what"].items())
        out.print(json.dumps(entry, ensure_ascii=False, sort_keys=True) if json_ else
                  f"{entry['seq']:>5}  {entry['time']}  {entry['action']}  by {entry['who']}: {what}"
                  + (f"; {entry['why']}" if entry["why"] else ""))
