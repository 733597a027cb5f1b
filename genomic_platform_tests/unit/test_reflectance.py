"""Canopy reflectance of real plots: reading, vegetation indices and the relationship between lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import InputError, ProgramError
from genomic_platform.phenotypes.lines import LineRegistry, read_lines
from genomic_platform.phenotypes.reflectance import read_reflectance, reflectance_cross_kernel, reflectance_kernel
from genomic_platform.phenotypes.vegetation_indices import INDICES, vegetation_indices

REAL = Path(__file__).parents[1] / "reference/reflectance/reflectance.csv.gz"
READ, NOTICES = read_reflectance([REAL])
GOOD = ("line_id,environment,wl670,R780", "a,E1,10,30", "b,E1,12,", "a,E2,11,31")


def written(folder: Path, *rows: str, name: str = "bands.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(rows) + "\n")
    return path


def test_real_bands_are_read_whole() -> None:
    theirs = pl.read_csv(REAL, infer_schema_length=100)
    assert READ.rows.height == 60
    assert READ.rows.row(0) == ("6569128", "2013-14", "E1", "9")
    assert (len(READ.wavelength_B), READ.wavelength_B[0], READ.wavelength_B[-1]) == (250, 392.0, 851.0)
    assert np.array_equal(READ.bands_NB, theirs.select(pl.col("^wl.*$")).cast(pl.Float64).to_numpy())
    assert [n.examples for n in NOTICES] == [("GNDVI", "RNDVI")]
    assert READ.at("E1", "9").bands_NB.shape == (60, 250)
    assert READ.at("E2").rows.is_empty()


def test_indices_are_those_of_the_source() -> None:
    """The source's own RNDVI and GNDVI were averaged per line on their own: they differ by up to .014 from the line
    means of the bands put into the formula (all 776 lines), and any other band of the formula by more."""
    theirs = pl.read_csv(REAL, infer_schema_length=100)
    values, names, notices = vegetation_indices(READ.bands_NB, READ.wavelength_B)
    assert names == ("ndvi", "gndvi", "red_edge_ndvi", "pri", "simple_ratio", "sipi")
    assert notices[0].examples == ("water_index: 900, 970 nm",)
    assert values[:, 0] == pytest.approx(theirs["RNDVI"].to_numpy(), abs=0.015)
    assert values[:, 1] == pytest.approx(theirs["GNDVI"].to_numpy(), abs=0.015)


def test_indices_by_hand() -> None:
    reflectance = dict.fromkeys((445, 531, 550, 570, 670, 680, 705, 750, 780, 800, 900, 970), 0.0) | {
        445: 3.0, 531: 6.0, 550: 8.0, 570: 5.0, 670: 4.0, 680: 5.0, 705: 10.0, 750: 40.0, 780: 44.0, 800: 45.0,
        900: 48.0, 970: 40.0}
    made, names, _ = vegetation_indices(np.array([list(reflectance.values())]), np.array(list(reflectance)))
    by_hand = {"ndvi": 40 / 48, "gndvi": 36 / 52, "red_edge_ndvi": 30 / 50, "pri": 1 / 11, "simple_ratio": 11.0,
               "sipi": 42 / 40, "water_index": 1.2}
    assert dict(zip(names, made[0], strict=True)) == pytest.approx(by_hand)
    docs = (Path(__file__).parents[2] / "docs/environments.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` | {i.formula} | {i.source} |" in docs for name, i in INDICES.items())
    percent, _, _ = vegetation_indices(np.array([list(reflectance.values())]) * 100, np.array(list(reflectance)))
    assert percent == pytest.approx(made)


def test_an_index_without_its_bands_or_name_is_refused_and_a_missing_band_is_missing() -> None:
    with pytest.raises(ProgramError, match=r"bands from 392 to 851 nm have none within 5 nm .*water_index: 900, 970"):
        vegetation_indices(READ.bands_NB, READ.wavelength_B, ["water_index"])
    with pytest.raises(ProgramError, match="no vegetation index evi; expected some of ndvi, gndvi"):
        vegetation_indices(READ.bands_NB, READ.wavelength_B, ["evi"])
    with pytest.raises(ProgramError, match="for 3 wavelengths; expected lines × bands"):
        vegetation_indices(READ.bands_NB, READ.wavelength_B[:3])
    values, _, _ = vegetation_indices(np.array([[np.nan, 3.0], [0.0, 0.0]]), np.array([670, 780]), ["ndvi"])
    assert np.isnan(values).all()


def test_kernel_equals_correlation_of_bands_written_out() -> None:
    scored = (READ.bands_NB - READ.bands_NB.mean(axis=0)) / READ.bands_NB.std(axis=0, ddof=1)
    expected = np.array([[np.mean(a * b) for b in scored] for a in scored])
    kernel = reflectance_kernel(READ.bands_NB)
    assert kernel == pytest.approx(expected, abs=1e-12)
    assert np.trace(kernel) == pytest.approx(59)
    assert reflectance_kernel(READ.bands_NB * 3.7 + 2) == pytest.approx(kernel, abs=1e-9)


def test_bands_constant_or_missing_in_a_line_are_left_out() -> None:
    spoilt = np.column_stack([READ.bands_NB, np.full(60, 5.0), np.where(np.arange(60) == 3, np.nan, 1.0)])
    assert np.array_equal(reflectance_kernel(spoilt), reflectance_kernel(READ.bands_NB))


def test_other_lines_are_standardised_as_the_training_lines() -> None:
    training, other = READ.bands_NB[:40], READ.bands_NB[40:]
    cross = reflectance_cross_kernel(other, training)
    mean, sd = training.mean(axis=0), training.std(axis=0, ddof=1)
    assert cross == pytest.approx((other - mean) / sd @ ((training - mean) / sd).T / 250, abs=1e-12)
    assert np.array_equal(reflectance_cross_kernel(training, training), reflectance_kernel(training))
    with pytest.raises(ProgramError, match="covariate band 1 is missing in row 1 of 20"):
        reflectance_cross_kernel(np.where(np.arange(250) == 0, np.nan, other), training)


def test_names_of_bands_and_missing_cells(tmp_path: Path) -> None:
    found, _ = read_reflectance([written(tmp_path, *GOOD)])
    assert found.wavelength_B.tolist() == [670.0, 780.0]
    assert found.rows["season"].null_count() == 3
    assert np.isnan(found.bands_NB[1, 1])


def test_synonyms_are_one_line(tmp_path: Path) -> None:
    registry = LineRegistry(read_lines(None).records, {"b": "a"})
    found, _ = read_reflectance([written(tmp_path, *GOOD[:2], "b,E2,1,2")], registry)
    assert found.rows["line_id"].to_list() == ["a", "a"]
    with pytest.raises(InputError, match=r"bands.csv, line 3: line_id is 'a' again \(first in bands.csv, line 2\)"):
        read_reflectance([written(tmp_path, *GOOD)], registry)


@pytest.mark.parametrize(("rows", "message"), [
    ((*GOOD, "c,E1,-1,3"), "line 5: wl670 is '-1'; expected a number not below 0"),
    ((*GOOD, "c,E1,low,3"), "line 5: wl670 is 'low'"),
    ((*GOOD, ",E1,1,3"), "line 5: line_id is empty"),
    (("line_id,wl670,wl780", "a,1,2"), "line 1: columns line_id, wl670, wl780; expected a column environment"),
    (("line_id,environment,wl670", "a,E1,2"), "expected at least two bands, named by wavelength such as wl670"),
])
def test_refused(tmp_path: Path, rows: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError) as refused:
        read_reflectance([written(tmp_path, *rows)])
    assert message in str(refused.value)


def test_files_of_other_bands_are_refused(tmp_path: Path) -> None:
    second = written(tmp_path, "line_id,environment,wl670,wl790", "c,E1,1,2", name="second.csv")
    with pytest.raises(InputError, match=r"second\.csv, line 1: 2 bands in one of the two only, such as 780 nm"):
        read_reflectance([written(tmp_path, *GOOD), second])
