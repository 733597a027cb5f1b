"""The versioned store: removing what nothing can reach, making a lakeFS server ready, moving to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from uuid import uuid4

from cyclopts import App, Parameter, validators

from genomic_platform.commands.console import Flag, Folder, app, opened, out
from genomic_platform.errors import ProgramError, counted
from genomic_platform.workspace import CACHE, EMBEDDED, lakefs_store

_NO_SERVER = ("expected the settings to name a lakeFS server, found none; repair: set lakefs_endpoint and its keys "
              "(genomic-platform settings lists them)")
Hours = Annotated[float, Parameter(validator=validators.Number(gte=0))]

store = App(name="store", help="The versioned store of the programme's workspace.", sort_key=36)
app.command(store)


@store.command
def gc(folder: Folder, *, older_than: Hours = 1.0, dry_run: Flag = False) -> None:
    """Remove contents that no branch, tag, commit or running step can reach; on a lakeFS server, from its local cache.

    Parameters
    ----------
    older_than
        Hours since they were stored.
    dry_run
        Only say what would be removed.
    """
    program, workspace = opened(folder)
    found = workspace.store.collect(older_than * 3600, dry_run)
    if found.files and not dry_run:
        workspace.audit.record("deletion", key=f"deletion:{uuid4().hex}", program=program.name,
                               who=workspace.settings.who, why="store gc: contents that this machine need not hold",
                               what={"files": found.files, "bytes": found.bytes})
    out.print(f"{counted(found.files, 'file')}, {found.bytes / 1e6:,.1f} MB "
              + ("would be removed" if dry_run else "removed"))


@store.command
def setup(*, storage: str = "", actions: Path | None = None, first_user: Flag = False) -> None:
    """Make the repository on the lakeFS server that the settings name, with a protected `main`. May be repeated.

    Parameters
    ----------
    storage
        Where the server keeps contents, `local://folder` or `s3://bucket/prefix`; default: local, by repository.
    actions
        Folder of checks that the server runs before each merge into `main`, see deploy/lakefs_actions.
    first_user
        Make the settings' credentials the first user's of a new server.
    """
    from genomic_platform.settings import read_settings
    from genomic_platform.stores.lakefs_setup import first_credentials, prepare_repository

    settings = read_settings()
    if not settings.lakefs_endpoint:
        raise ProgramError(f"store setup: {_NO_SERVER}")
    target = lakefs_store(settings, Path(settings.workspace or ".") / CACHE)
    if first_user and first_credentials(settings.lakefs_endpoint, settings.lakefs_access_key_id,
                                        settings.lakefs_secret_access_key.get_secret_value()):
        out.print("made the first user")
    files = sorted(actions.glob("*.yaml")) if actions else []
    if actions and not files:
        raise ProgramError(f"{actions}: expected lakeFS actions (*.yaml), found none")
    for line in prepare_repository(target, storage or f"local://{settings.lakefs_repository}", files):
        out.print(line)
    out.print(f"lakeFS at {settings.lakefs_endpoint}: repository {settings.lakefs_repository} is ready")


@store.command
def migrate(folder: Folder) -> None:
    """Move the workspace's history from the embedded store to the lakeFS server that the settings name.

    The embedded store is read and left as it is. Killed, it goes on where it was when started again.
    """
    from genomic_platform.stores.embedded import EmbeddedStore
    from genomic_platform.stores.lakefs import LakeFSStore
    from genomic_platform.stores.migrate import migrate as move

    _, workspace = opened(folder)
    if not isinstance(workspace.store, LakeFSStore):
        raise ProgramError(f"store migrate: {_NO_SERVER}, then store setup")
    if not (workspace.root / EMBEDDED).is_dir():
        raise ProgramError(f"{workspace.root / EMBEDDED}: expected the embedded store to move, found none")
    moved = move(EmbeddedStore(workspace.root / EMBEDDED), workspace.store, out.print)
    out.print(f"{counted(moved.made, 'commit')} moved, {moved.already} before; {counted(moved.objects, 'object')} on "
              f"{workspace.store.endpoint}. The embedded store is left in {workspace.root / EMBEDDED}.")
