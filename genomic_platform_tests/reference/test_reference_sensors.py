"""Wheat at Ciudad Obregon, drought: whole trials left out, from markers, from reflectance and from both.

Reference: plain GBLUP on the same folds gave .408 (markers), .704 (reflectance) and .725 and more (both); see the
platform's science contract. Values with reflectance are sensor-assisted.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import ProgramError
from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.genotypes.read import read_genotypes
from genomic_platform.models.mixed.sensor_assisted import fit_sensor_assisted
from genomic_platform.phenotypes.reflectance import reflectance_kernel

LANDING = Path(__file__).parents[2] / "examples" / "wheat_htp_obregon" / "landing"
Study = tuple[list[str], np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def study() -> Study:
    """Lines, yields, folds, K and kernel of bands, lines in the order of the genotypes."""
    genotypes, _ = read_genotypes([LANDING / "genotypes/genotypes.vcf.gz"])
    text = {"line_id": pl.String}
    yields = pl.read_csv(LANDING / "trials/phenotypes.csv", schema_overrides=text).filter(pl.col("environment") == "E1")
    bands = pl.read_csv(LANDING / "sensors/reflectance_E1_t9.csv.gz", schema_overrides=text)
    table = pl.DataFrame({"line_id": genotypes.lines}).join(yields, on="line_id", maintain_order="left") \
        .join(bands.select("line_id", pl.col("^wl.*$")), on="line_id", maintain_order="left")
    assert table.height == 776
    kernel_LL = reflectance_kernel(table.select(pl.col("^wl.*$")).to_numpy())
    return (table["line_id"].to_list(), table["grain_yield_t_ha"].to_numpy(), table["cv_fold"].to_numpy(),
            vanraden(genotypes).matrix_NN, kernel_LL)


@pytest.mark.parametrize(("markers", "bands", "least", "reference", "basis"), [
    (True, False, 0.40, 0.408, "markers"), (False, True, 0.70, 0.704, "sensor-assisted"),
    (True, True, 0.725, None, "sensor-assisted")])
def test_trials_left_out(study: Study, markers: bool, bands: bool, least: float, reference: float | None,
                         basis: str) -> None:
    lines, y_L, fold_L, k_LL, h_LL = study
    ability = []
    for fold in np.unique(fold_L):
        held_L = fold_L == fold
        model = fit_sensor_assisted(lines, np.where(held_L, np.nan, y_L), k_LL if markers else None,
                                    h_LL if bands else None)
        assert set(model.values["basis"]) == {basis}
        assert model.values["trained"].to_numpy().tolist() == (~held_L).tolist()
        ability.append(np.corrcoef(model.values["predicted"].to_numpy()[held_L], y_L[held_L])[0, 1])
    assert np.mean(ability) >= least
    if reference is not None:
        assert np.mean(ability) == pytest.approx(reference, abs=0.005)


def test_a_model_of_nothing_and_a_kernel_of_other_lines_are_refused(study: Study) -> None:
    lines, y_L, _, k_LL, _ = study
    with pytest.raises(ProgramError, match="found neither"):
        fit_sensor_assisted(lines, y_L)
    with pytest.raises(ProgramError, match=r"kernel of 'line' has shape \(700, 700\); expected .* at least 776"):
        fit_sensor_assisted(lines, y_L, k_LL[:700, :700])
