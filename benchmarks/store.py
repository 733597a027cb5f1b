"""The embedded store against plain copying: write + commit + open of a file of genotype-table size.

    python benchmarks/store.py [--megabytes 50] [--rounds 7]

The peer does what any careful program must: read the file, sha256, copy, fsync of file and folder. Both run in turns,
each time on new content; ratios are of the medians.
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

from genomic_platform.stores.embedded import EmbeddedStore
from genomic_platform.stores.objects import fsync_folder
from genomic_platform.stores.protocol import MAIN


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


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args(arguments)
    copied, stored, again = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "plain").mkdir()
        store = EmbeddedStore(folder / "store")
        for i in range(options.rounds):
            source = folder / "table"
            source.write_bytes(os.urandom(options.megabytes * 1_000_000))
            os.sync()

            def store_it(path: Path = source, label: str = str(i)) -> None:
                store.write(MAIN, "genotypes", path)
                store.commit(MAIN, label)
                store.open(MAIN, "genotypes")

            copied.append(seconds(lambda path=source: plain_copy(path, folder / "plain")))
            os.sync()
            stored.append(seconds(store_it))
            again.append(seconds(store_it))
        files = sum(1 for p in (folder / "store" / "lfs" / "objects").rglob("*") if p.is_file())
    base = statistics.median(copied)
    for what, found in (("copy + sha256 + fsync", copied), ("write + commit + open", stored),
                        ("the same content again", again)):
        middle = statistics.median(found)
        print(f"{what:24} {1000 * min(found):6.0f} {1000 * middle:6.0f} {1000 * max(found):6.0f} ms "
              f"(min, median, max)   {middle / base:.2f} ×")
    print(f"{options.megabytes} MB, {options.rounds} rounds; {files} contents stored for {options.rounds} versions")


if __name__ == "__main__":
    main()
