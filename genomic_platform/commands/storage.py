"""The versioned store: removing what nothing can reach."""

from __future__ import annotations

from typing import Annotated
from uuid import uuid4

from cyclopts import App, Parameter, validators

from genomic_platform.commands.console import Flag, Folder, app, opened, out
from genomic_platform.errors import counted

Hours = Annotated[float, Parameter(validator=validators.Number(gte=0))]

store = App(name="store", help="The versioned store of the programme's workspace.", sort_key=36)
app.command(store)


@store.command
def gc(folder: Folder, *, older_than: Hours = 1.0, dry_run: Flag = False) -> None:
    """Remove contents that no branch, tag, commit or running step can reach.

    Parameters
    ----------
    older_than
        Hours since they were stored.
    dry_run
        Only say what would be removed.
    """
    from genomic_platform.stores.embedded import EmbeddedStore

    program, workspace = opened(folder)
    assert isinstance(workspace.store, EmbeddedStore)
    found = workspace.store.collect(older_than * 3600, dry_run)
    if found.files and not dry_run:
        workspace.audit.record("deletion", key=f"deletion:{uuid4().hex}", program=program.name,
                               who=workspace.settings.who, why="garbage collection: nothing reached these contents",
                               what={"files": found.files, "bytes": found.bytes})
    out.print(f"{counted(found.files, 'file')}, {found.bytes / 1e6:,.1f} MB "
              + ("would be removed" if dry_run else "removed"))
