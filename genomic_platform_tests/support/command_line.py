"""The command line in this process, and a generated programme's landing files as a folder laid out like `landing/`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from genomic_platform.cli import main
from genomic_platform_tests.support.breeding import Programme, simulate, write_landing

FILES = {"genotypes": "genotypes.vcf", "trials": "trials.csv", "environments": "environments.csv", "lines": "lines.csv"}


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    def said(self, text: str) -> int:
        """How often `text` was printed, wherever lines were broken."""
        return " ".join((self.out + self.err).split()).count(text)


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> Answer:
    """Run one command; an error that escapes it fails the test."""
    capsys.readouterr()
    code = 0
    try:
        main([str(a) for a in arguments])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    printed = capsys.readouterr()
    return Answer(code, printed.out, printed.err)


def json_of(answer: Answer) -> dict[str, Any]:
    """What a command with `--json` printed."""
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


def done(*arguments: object) -> None:
    """Run one command that must succeed, where nothing captures what it prints."""
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    assert not ended.value.code, f"{arguments} ended with {ended.value.code}"


def publish(files: Path, folder: Path) -> Path:
    """Make a programme in `folder` from the landing files and run all its seasons; gives `folder`."""
    done(*init_arguments(files, folder))
    done("run", folder)
    return folder


def write_files(folder: Path, programme: Programme, seed: int = 3) -> Path:
    """Landing files of a generated programme in `folder`, each kind in its own folder; gives `folder`."""
    simulated = simulate(programme, seed)
    made = write_landing(simulated, folder / "made")
    for kind, name in FILES.items():
        (folder / kind).mkdir()
        (getattr(made, kind)).rename(folder / kind / name)
    (folder / "made").rmdir()
    return folder


def init_arguments(files: Path, programme: Path) -> list[object]:
    """`init` with every file of a folder laid out like `landing/`."""
    arguments: list[object] = ["init", programme]
    for kind in FILES:
        if found := sorted((files / kind).glob("*")):
            arguments += [f"--{kind}", *found]
    return arguments


def contents(folder: Path) -> dict[str, str]:
    """Digest of every file below a folder, by path: equal means nothing was written."""
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("*")) if p.is_file()}
