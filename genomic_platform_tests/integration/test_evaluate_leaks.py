"""Leaks planted in landing files are named by `evaluate`; the same files without them raise no alarm."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import fmean, median

import pytest

from genomic_platform_tests.support.breeding import Programme
from genomic_platform_tests.support.command_line import Answer, call, init_arguments, write_files

SMALL = Programme(n_lines=60, n_families=3, n_founders=6, n_seasons=3, n_markers=80, n_traits=2, block_size=16)
TRIALS, GENOTYPES, YIELD = "trials/trials.csv", "genotypes/genotypes.vcf", "grain_yield_t_ha"


def rows_of(path: Path) -> list[list[str]]:
    return [line.split(",") for line in path.read_text().splitlines()]


def write_rows(path: Path, rows: list[list[str]]) -> None:
    path.write_text("".join(",".join(row) + "\n" for row in rows))


def yields(files: Path) -> dict[tuple[str, str], float]:
    """Mean of each line in each season."""
    head, *rows = rows_of(files / TRIALS)
    plots: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        if row[head.index(YIELD)]:
            plots[row[0], row[1]].append(float(row[head.index(YIELD)]))
    return {key: fmean(values) for key, values in plots.items()}


def plant(files: Path) -> None:
    """A marker made from yield, the line L0010 again as COPY, and a column of next season's yield."""
    found = yields(files)
    of_line = {line: fmean(v for (own, _), v in found.items() if own == line) for line, _ in found}
    middle = median(of_line.values())
    above, *records = (files / GENOTYPES).read_text().split("#CHROM")
    table = [line.split("\t") for line in ("#CHROM" + records[0]).splitlines()]
    made = ["1/1" if of_line.get(line, 0.0) > middle else "0/0" for line in table[0][9:]]
    last = table[-1]
    table.append([last[0], str(int(last[1]) + 1), "made_up", "A", "C", *last[5:9], *made])
    place = table[0].index("L0010")
    copied = [[*row, row[place] if i else "COPY"] for i, row in enumerate(table)]
    (files / GENOTYPES).write_text(above + "".join("\t".join(row) + "\n" for row in copied))
    head, *rows = rows_of(files / TRIALS)
    rows += [["COPY", *row[1:]] for row in rows if row[0] == "L0010"]
    following = [found.get((row[0], str(int(row[1]) + 1))) for row in rows]
    write_rows(files / TRIALS, [[*head, "note"], *([*row, "" if value is None else f"{value:.3f}"]
                                                   for row, value in zip(rows, following, strict=True))])


def evaluated(files: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> Answer:
    """What `evaluate` says, with folds in which neighbours in the list of lines, L0010 and COPY too, are apart."""
    assert call(capsys, *init_arguments(files, folder)).code == 0
    lines = sorted({row[0] for row in rows_of(files / TRIALS)[1:]} - {"COPY"})
    folds = [[line, str(i % 5)] for i, line in enumerate(lines)] + [["COPY", str((lines.index("L0010") + 1) % 5)]]
    write_rows(folder / "folds.csv", [["line_id", "fold"], *folds])
    answer = call(capsys, "evaluate", folder, "--models", "genomic_blup", "--folds", folder / "folds.csv")
    assert answer.code == 0, answer.err
    return answer


def test_every_planted_leak_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = write_files(tmp_path / "files", SMALL)
    clean = evaluated(files, tmp_path / "clean", capsys)
    assert not clean.said("would; check where they come from")
    assert not clean.said("features resemble the outcome")
    assert not clean.said("COPY")
    plant(files)
    planted = evaluated(files, tmp_path / "planted", capsys)
    assert planted.said(f"made_up with {YIELD}, r²") == 1
    assert planted.said("COPY = L0010") == 1
    assert planted.said(f"note of 2020 with {YIELD}, r ") == 1
