"""The versioned store against plain copying: write + commit + open of a file of genotype-table size.

    python benchmarks/store.py [--megabytes 50] [--rounds 7]

With a lakeFS server in the settings (GENOMIC_PLATFORM_LAKEFS_…), the store on it as well, in the same rounds; `open` is
then on another machine's empty cache. The peer does what any careful program must: read the file, sha256, copy, fsync
of file and folder. All run in turns, each time on new content; ratios are of the medians.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from genomic_platform.settings import read_settings
from genomic_platform.stores.embedded import EmbeddedStore
from genomic_platform.stores.objects import fsync_folder
from genomic_platform.stores.protocol import VersionedStore
from genomic_platform.workspace import lakefs_store

BRANCH, PLAIN = "benchmark", "copy + sha256 + fsync"


def plain_copy(source: Path, folder: Path) -> None:
    """sha256 while copying, then fsync."""
    digest, target = hashlib.sha256(), folder / "part"
    with source.open("rb") as origin, target.open("wb") as copy:
        while chunk := origin.read(1 << 20):
            digest.update(chunk)
            copy.write(chunk)
        copy.flush()
        os.fsync(copy.fileno())
    target.replace(folder / digest.hexdigest())
    fsync_folder(folder)


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def store_it(store: VersionedStore, reader: VersionedStore, source: Path, k: int) -> None:
    """Write + commit + open, on a branch of the benchmark's own."""
    store.branch(BRANCH)
    store.write(BRANCH, "genotypes", source)
    reader.open(store.commit(BRANCH, f"round {k}"), "genotypes")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args(arguments)
    found: dict[str, list[float]] = {}
    settings = read_settings()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "plain").mkdir()
        stores: dict[str, VersionedStore] = {"embedded": EmbeddedStore(folder / "store")}
        if settings.lakefs_endpoint:
            stores["lakeFS"] = lakefs_store(settings, folder / "cache")
        for i in range(options.rounds):
            source = folder / "table"
            source.write_bytes(os.urandom(options.megabytes * 1_000_000))
            os.sync()
            found.setdefault(PLAIN, []).append(seconds(lambda path=source: plain_copy(path, folder / "plain")))
            for label, store in stores.items():
                os.sync()
                reader = store if label == "embedded" else lakefs_store(settings, folder / f"cache-{i}")
                for what in ("new content", "the same again"):
                    took = seconds(lambda path=source, k=i, own=store, other=reader: store_it(own, other, path, k))
                    found.setdefault(f"{label}, {what}", []).append(took)
    base = statistics.median(found[PLAIN])
    for what, took in found.items():
        middle = statistics.median(took)
        print(f"{what:26} {1000 * min(took):6.0f} {1000 * middle:6.0f} {1000 * max(took):6.0f} ms "
              f"(min, median, max)   {middle / base:.2f} ×")
    print(f"{options.megabytes} MB, {options.rounds} rounds")


if __name__ == "__main__":
    main()
