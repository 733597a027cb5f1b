"""Short ways to fill and read a versioned store."""

from __future__ import annotations

from genomic_platform.stores.protocol import VersionedStore


def published(store: VersionedStore, contents: dict[str, bytes | None], branch: str = "work") -> str:
    """Write (None: remove) on a branch of main, commit, merge and remove the branch; the merge's id."""
    store.branch(branch)
    stage(store, branch, contents)
    store.commit(branch, "step")
    merged = store.merge(branch)
    store.delete_branch(branch)
    return merged


def stage(store: VersionedStore, branch: str, contents: dict[str, bytes | None]) -> None:
    for path, content in contents.items():
        if content is None:
            store.remove(branch, path)
        else:
            store.write(branch, path, content)


def read(store: VersionedStore, ref: str) -> dict[str, bytes]:
    return {info.path: store.open(ref, info.path).read_bytes() for info in store.list(ref)}
