"""Which lines have relatives in training, against loops over pairs, and whose values are to be trusted less."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from genomic_platform.drift import relatives
from genomic_platform.drift.relatives import closest_relatives, line_trust, trust_message
from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.schemas.monitoring import LINE_TRUST
from genomic_platform_tests.support.panels import made_panel

LINES = ["a", "b", "c", "near", "far", "between"]
#: Two sibs and a half sib in training; of the others one is near, one is of no family, one is kin of nobody's degree.
MATRIX = np.array([[1.0, 0.6, 0.5, 0.7, 0.1, 0.3],
                   [0.6, 1.0, 0.5, 0.4, 0.0, 0.3],
                   [0.5, 0.5, 1.0, 0.3, 0.0, 0.3],
                   [0.7, 0.4, 0.3, 1.0, 0.0, 0.9],
                   [0.1, 0.0, 0.0, 0.0, 1.0, 0.0],
                   [0.3, 0.3, 0.3, 0.9, 0.0, 1.0]])


def values(lines: list[str], reliabilities: dict[str, float]) -> pl.DataFrame:
    return pl.DataFrame([{"line_id": line, "trait": trait, "environment": None, "genotypic_value_reliability": r}
                         for line in lines for trait, r in reliabilities.items()],
                        schema_overrides={"environment": pl.String})


def trusted(training: list[str], lines: list[str] = LINES) -> dict[str, dict]:
    table = line_trust(values(lines, {"yield": 0.4, "height": 0.6}), training, LINES, MATRIX)
    assert LINE_TRUST.faults(table) == []
    return {row["line_id"]: row for row in table.to_dicts()}


@pytest.mark.parametrize("share", [0.5, 1.0], ids=["half in training", "all in training"])
def test_the_closest_and_the_mean_are_those_of_a_loop_over_pairs(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relatives, "_BLOCK", 7)  # several blocks, the last one shorter
    matrix_NN = vanraden(made_panel(n_lines=40)).matrix_NN
    training_N = np.random.default_rng(3).random(40) < share
    found = closest_relatives(matrix_NN, training_N)
    for i in range(40):
        own = {j: matrix_NN[i, j] / np.sqrt(matrix_NN[i, i] * matrix_NN[j, j])
               for j in np.flatnonzero(training_N) if j != i}
        assert found.closest_N[i] == max(own, key=lambda j: own[j])
        assert found.closest_relationship_N[i] == pytest.approx(max(own.values()))
        assert found.mean_relationship_N[i] == pytest.approx(np.mean(list(own.values())))


def test_the_only_line_in_training_has_no_relative_there() -> None:
    found = closest_relatives(np.eye(2), np.array([True, False]))
    assert found.closest_N.tolist() == [-1, 0]
    assert np.isnan(found.closest_relationship_N[0])


def test_lines_without_a_record_and_without_kin_are_trusted_less() -> None:
    found = trusted(["a", "b", "c"])
    assert {line: row["trust"] for line, row in found.items()} == {
        "a": "usual", "b": "usual", "c": "usual", "near": "usual", "far": "less", "between": "less"}
    assert found["far"]["why"] == \
        "no close relative in training: the closest is related by 0.1, kin by 0.25 and more"
    assert found["between"]["why"] == "closest relationship 0.3, lower than that of any training line (0.50)"
    assert (found["near"]["closest_relative"], found["near"]["closest_relationship"]) == ("a", pytest.approx(0.7))
    assert found["near"]["mean_relationship"] == pytest.approx((0.7 + 0.4 + 0.3) / 3)
    assert found["near"]["reliability"] == pytest.approx(0.5)


def test_a_line_with_a_record_is_usual_however_far_it_is() -> None:
    assert trusted(["a", "b", "c", "far"])["far"]["trust"] == "usual"


def test_who_has_no_genotypes_is_trusted_less_unless_it_has_a_record() -> None:
    found = trusted(["a", "b", "c", "recorded"], [*LINES, "unseen", "recorded"])
    assert (found["unseen"]["trust"], found["unseen"]["closest_relative"]) == ("less", None)
    assert found["unseen"]["why"].startswith("no genotypes")
    assert found["recorded"]["trust"] == "usual"


def test_no_training_line_or_a_single_one() -> None:
    assert {row["why"] for row in trusted([]).values()} == {"no line in training has genotypes"}
    alone = trusted(["a"])
    assert (alone["a"]["closest_relative"], alone["a"]["trust"]) == (None, "usual")
    assert (alone["near"]["trust"], alone["far"]["trust"]) == ("usual", "less")


def test_the_message_counts_them() -> None:
    def message(training: list[str]) -> str:
        return trust_message(line_trust(values(LINES, {"yield": 0.4}), training, LINES, MATRIX))

    assert message(["a", "b", "c"]) == \
        "2 lines have no close relative in training: trust their values less (of 3 without a record)"
    assert message(["a", "b", "c", "between"]) == \
        "1 line has no close relative in training: trust its value less (of 2 without a record)"
    assert message(["a", "b", "c", "far", "between"]) == \
        "every line without a record has a close relative in training (1)"
    assert message(LINES) == "every line has a record"
