"""A recipe is measured once for the same files, code, scheme, traits, folds and settings; again when one differs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genomic_platform.results import evaluation
from genomic_platform.results.evaluation import Evaluation, evaluate_landing
from genomic_platform_tests.dagster.small import Small


@pytest.fixture
def asked(published: Callable[[int], Small], tmp_path: Path,
          monkeypatch: pytest.MonkeyPatch) -> Callable[..., Evaluation]:
    monkeypatch.setattr(evaluation, "code_version", lambda: "1")
    small = published(0)

    def ask(**options: Any) -> Evaluation:
        return evaluate_landing(small.program, "cv1", **{"replicates": 1, "models": ["genomic_blup"],
                                                         "cache": tmp_path / "cache", **options})

    return ask


def test_only_what_is_new_is_measured(asked: Callable[..., Evaluation], monkeypatch: pytest.MonkeyPatch) -> None:
    first = asked()
    assert (first.measured, first.known) == (("genomic_blup",), ())
    both = asked(models=["genomic_blup", "kernel"])
    assert (both.measured, both.known) == (("kernel",), ("genomic_blup",))
    monkeypatch.setattr(evaluation, "_measure", None)
    again = asked(models=["genomic_blup", "kernel"])
    assert again.measured == ()
    assert again.table.equals(both.table)


def test_whatever_the_result_depends_on_is_in_the_key(asked: Callable[..., Evaluation], tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    small = Small(tmp_path / "copy")
    assert asked().measured
    assert not asked().measured
    assert asked(replicates=2).measured
    trials = small.trials("2021")
    text = trials.read_text()
    trials.write_text("\n".join(text.splitlines()[:-1]) + "\n")
    assert asked().measured
    trials.write_text(text)
    assert not asked().measured
    file = small.folder / "program.toml"
    settings = file.read_text()
    file.write_text(f"{settings}\n[genotype_qc]\nmin_line_call_rate = 0.1\n")
    assert asked().measured
    file.write_text(f"{settings}\n[search]\ntrials = 1\n")
    thinned = "search:genomic_platform_tests.support.searched:ThinnedBlup"
    assert asked(models=["genomic_blup", thinned]).measured == (thinned,)
    file.write_text(f"{settings}\n[search]\ntrials = 2\n")
    assert asked(models=["genomic_blup", thinned]).measured == (thinned,)
    file.write_text(settings)
    monkeypatch.setattr(evaluation, "code_version", lambda: "2")
    assert asked().measured
    monkeypatch.setattr(evaluation, "code_version", lambda: "2.dirty")
    assert asked().measured
    assert asked().measured
