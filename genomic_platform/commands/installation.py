"""The installation itself: its settings and its web pages."""

from __future__ import annotations

from genomic_platform.commands.console import Folder, app, opened, out


@app.command(sort_key=40)
def settings() -> None:
    """List every setting of the installation with its value and meaning."""
    from genomic_platform.results.display import settings_table
    from genomic_platform.settings import read_settings

    settings_table(out, read_settings())


@app.command(sort_key=41)
def ui(folder: Folder) -> None:
    """Serve the UIs of Dagster (with its daemon), MLflow and Evidently on the programme's workspace, until interrupted.

    Evidently's only where it is installed.
    """
    from genomic_platform.ui import serve

    program, workspace = opened(folder)
    workspace.register(program)
    serve(workspace, lambda text: out.print(text))
