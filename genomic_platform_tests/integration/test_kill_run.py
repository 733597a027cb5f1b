"""Real `genomic-platform` processes killed with -9: what was published answers, and the next run finishes the work."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from genomic_platform.stores.assets import AssetStore
from genomic_platform.workspace import Workspace
from genomic_platform_tests.support.breeding import Programme
from genomic_platform_tests.support.command_line import call, done, init_arguments, write_files

SMALL = Programme(n_lines=56, n_families=4, n_founders=6, n_seasons=2, n_markers=60, n_traits=1, advanced=6,
                  block_size=16)
MAIN_OF = "import sys; from genomic_platform.cli import main; main(sys.argv[1:])"
PLACE = """
import sys
from pathlib import Path
from genomic_platform.landing.initialise import _place
print("ready", flush=True)
for k in range(10_000):
    source = Path(sys.argv[1]) / f"{k % 4}.vcf"
    _place(source, Path(sys.argv[2]))
"""


def started(*arguments: object) -> subprocess.Popen[bytes]:
    """`genomic-platform …` as a process group of its own."""
    return subprocess.Popen([sys.executable, "-c", MAIN_OF, *map(str, arguments)], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL, start_new_session=True)


def killed_at_work(process: subprocess.Popen[bytes], store: Path, n_files: int, seconds: float) -> bool:
    """Kill the process some seconds after it has written so many files into the store; False when it ended before."""
    before = stored(store)
    while process.poll() is None and stored(store) - before < n_files:
        time.sleep(0.01)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    running = process.poll() is None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return running


def stored(store: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(store))


def versions(programme: Path) -> dict[tuple[str, str], str]:
    """Data version of every published asset (a release's own also covers the code version)."""
    main = AssetStore(Workspace.beside(programme).store, programme.name)
    return {(season, name): record.data_version for season in main.published()
            for name, record in main.records(season).items() if name != "season_release"}


@pytest.mark.slow
def test_a_killed_run_loses_nothing_and_is_taken_up_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = write_files(tmp_path / "files", SMALL)
    calm, shaken = tmp_path / "calm/barley", tmp_path / "shaken/barley"
    for programme in (calm, shaken):
        programme.parent.mkdir()
        done(*init_arguments(files, programme))
    assert started("run", calm).wait(600) == 0
    expected = versions(calm)
    rankings = {}
    for season in ("2019", "2020"):
        assert call(capsys, "rank", calm, "--season", season, "--out", tmp_path / "calm.csv").code == 0
        rankings[season] = (tmp_path / "calm.csv").read_bytes()

    draw = random.Random(20)
    kills = 0
    store = shaken.parent / ".genomic_platform/store"
    # every step writes a record of its own, and there are some twenty steps a season: the fourth kill is in the second
    for n_files in (draw.randint(1, 18), draw.randint(1, 18), draw.randint(1, 18), draw.randint(40, 60), 0, 12):
        kills += killed_at_work(started("run", shaken), store, n_files, draw.uniform(0.0, 0.5))
        published = sorted({season for season, _ in versions(shaken)})
        assert call(capsys, "status", shaken).code == 0
        rank = call(capsys, "rank", shaken, "--out", tmp_path / "shaken.csv")
        assert rank.code == (0 if published else 3), rank.err
        if published:
            assert (tmp_path / "shaken.csv").read_bytes() == rankings[published[-1]]
    assert kills >= 5
    last = call(capsys, "run", shaken)
    assert last.code == 0, last.out + last.err
    assert versions(shaken) == expected
    for season in ("2019", "2020"):
        assert call(capsys, "rank", shaken, "--season", season, "--out", tmp_path / "shaken.csv").code == 0
        assert (tmp_path / "shaken.csv").read_bytes() == rankings[season]
    assert call(capsys, "run", shaken).said("nothing changed")


def test_a_killed_copy_leaves_no_half_file(tmp_path: Path) -> None:
    """The copy that `init` makes, killed five times in the middle: a final name holds a whole file or nothing."""
    sources, landing = tmp_path / "sources", tmp_path / "landing"
    sources.mkdir()
    for k in range(4):
        (sources / f"{k}.vcf").write_bytes(bytes([k]) * 30_000_000)
    draw = random.Random(2)
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", PLACE, str(sources), str(landing)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(draw.uniform(0.0, 0.1))
        process.kill()
        process.wait()
        process.stdout.close()
        for file in landing.glob("[!.]*"):
            assert file.read_bytes() == (sources / file.name).read_bytes()
    assert len(list(landing.iterdir())) <= 8
