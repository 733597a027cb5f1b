"""Which code this is: the package version, and the Git commit when it runs from a checkout or an image built of one."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from genomic_platform import __version__


@lru_cache(maxsize=1)
def code_version() -> str:
    """`0.1.0+g1a2b3c4d5e6f`, then `.dirty` when tracked package files differ from it; `0.1.0` when installed."""
    import pygit2

    package = Path(__file__).resolve().parent
    if (built_from := package / "COMMIT").is_file():  # written into an image, see deploy/Dockerfile
        return f"{__version__}+g{built_from.read_text().strip()}".removesuffix("+g")
    try:
        repository = pygit2.Repository(str(package.parent))
        commit = str(repository.revparse_single("HEAD").id)[:12]
        inside = f"{package.relative_to(Path(repository.workdir).resolve()).as_posix()}/"
    except (pygit2.GitError, KeyError, ValueError):
        return __version__
    changed = repository.status(untracked_files="no")
    dirty = any(path.startswith(inside) for path in changed)
    return f"{__version__}+g{commit}" + (".dirty" if dirty else "")
