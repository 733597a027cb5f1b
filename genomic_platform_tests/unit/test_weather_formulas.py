"""Formulas of single days against the worked examples and tables they are published with."""

from __future__ import annotations

import numpy as np
import pytest

from genomic_platform.phenotypes.weather_formulas import (
    actual_vapour_pressure,
    daylength,
    extraterrestrial_radiation,
    hargreaves,
    mean_saturation_vapour_pressure,
    saturation_vapour_pressure,
    thermal_time,
    vapour_pressure_deficit,
)

JUNE_21, DECEMBER_21, MARCH_20 = 172, 355, 79


def one(value: float) -> np.ndarray:
    return np.array([value])


@pytest.mark.parametrize(("temperature_c", "kpa"), [
    (1, 0.657), (10, 1.228), (15, 1.705), (18, 2.064), (20, 2.338), (24.5, 3.075), (25, 3.168), (30, 4.243),
    (40, 7.376)])
def test_saturation_vapour_pressure_is_fao_56_annex_2_table_2_3(temperature_c: float, kpa: float) -> None:
    assert saturation_vapour_pressure(temperature_c) == pytest.approx(kpa, abs=5.01e-4)  # three decimals are printed


def test_fao_56_examples_3_and_5_of_vapour_pressure() -> None:
    assert mean_saturation_vapour_pressure(one(24.5), one(15.0))[0] == pytest.approx(2.39, abs=0.005)
    assert actual_vapour_pressure(one(25.0), one(18.0), humidity_D=one(68.0))[0] == pytest.approx(1.78, abs=0.005)


def test_dew_point_goes_before_humidity_and_nothing_known_is_unknown() -> None:
    warm, cool = np.array([25.0, 25.0, 25.0]), np.array([18.0, 18.0, 18.0])
    dew, humidity = np.array([17.0, np.nan, np.nan]), np.array([10.0, 68.0, np.nan])
    actual = actual_vapour_pressure(warm, cool, dew_point_D=dew, humidity_D=humidity)
    assert actual[0] == pytest.approx(1.938, abs=5e-4)  # e°(17 °C) of table 2.3
    assert actual[1] == pytest.approx(1.78, abs=0.005)
    assert np.isnan(actual[2])
    assert vapour_pressure_deficit(one(20.0), one(10.0), dew_point_D=one(30.0))[0] == 0.0


def test_fao_56_example_8_extraterrestrial_radiation_on_3_september_at_20_south() -> None:
    assert extraterrestrial_radiation(one(246), -20.0)[0] == pytest.approx(32.2, abs=0.05)


def test_fao_56_example_20_hargreaves_at_lyon_in_july() -> None:
    radiation = extraterrestrial_radiation(one(196), 45 + 43 / 60)
    assert radiation[0] == pytest.approx(40.6, abs=0.05)
    assert hargreaves(one(26.6), one(14.8), radiation)[0] == pytest.approx(5.0, abs=0.05)


def test_evapotranspiration_is_never_negative() -> None:
    assert hargreaves(one(-20.0), one(-30.0), one(2.0))[0] == 0.0


@pytest.mark.parametrize(("place", "latitude", "longest", "shortest"), [
    ("Singapore", 1.35, (12, 12), (12, 3)), ("New York", 40.71, (15, 5), (9, 15)), ("London", 51.51, (16, 38), (7, 50)),
    ("Helsinki", 60.17, (18, 56), (5, 49))])
def test_longest_and_shortest_day_of_the_almanac(place: str, latitude: float, longest: tuple[int, int],
                                                 shortest: tuple[int, int]) -> None:
    found = daylength(np.array([JUNE_21, DECEMBER_21]), latitude)
    expected = [hours + minutes / 60 for hours, minutes in (longest, shortest)]
    assert found == pytest.approx(expected, abs=5 / 60), place  # minutes are rounded, the model is good to a few


@pytest.mark.parametrize("latitude", [-55.0, -33.25, 0.0, 30.5, 43.5, 58.0])
def test_daylength_over_the_year_agrees_with_a_solar_ephemeris(latitude: float) -> None:
    """Declination by the Astronomical Almanac's low-precision formulas, good to .01°, for 2001; sun at −.8333°."""
    day = np.arange(1, 366)
    since_2000 = 365 + day  # noon of the day, from noon of 2000-01-01 (day 1 of a leap year of 366)
    anomaly = np.radians(357.528 + 0.9856003 * since_2000)
    longitude = np.radians(280.460 + 0.9856474 * since_2000) + np.radians(
        1.915 * np.sin(anomaly) + 0.020 * np.sin(2 * anomaly))
    declination = np.arcsin(np.sin(np.radians(23.439)) * np.sin(longitude))
    phi = np.radians(latitude)
    cosine = (np.sin(np.radians(-0.8333)) - np.sin(phi) * np.sin(declination)) / (np.cos(phi) * np.cos(declination))
    assert daylength(day, latitude) == pytest.approx(24 / np.pi * np.arccos(cosine), abs=6 / 60)


def test_polar_day_night_and_mirrored_hemispheres() -> None:
    assert daylength(np.array([JUNE_21, DECEMBER_21]), 80.0).tolist() == [24.0, 0.0]
    assert daylength(np.array([JUNE_21, DECEMBER_21]), 90.0).tolist() == [24.0, 0.0]
    assert daylength(np.arange(1, 367), 0.0, 0.0) == pytest.approx(12.0)
    assert daylength(one(MARCH_20), 45.0, 6.0)[0] > daylength(one(MARCH_20), 45.0)[0]  # with civil twilight


@pytest.mark.parametrize(("max_f", "min_f", "degree_days_f"), [(80, 60, 20), (90, 72, 29), (68, 41, 9), (45, 30, 0)])
def test_thermal_time_is_the_86_50_method_of_maize(max_f: float, min_f: float, degree_days_f: float) -> None:
    """Worked by hand: each temperature held between 50 and 86 °F, mean minus 50; 1 °F d = 5/9 °C d."""
    highest, lowest = (one((f - 32) * 5 / 9) for f in (max_f, min_f))
    assert thermal_time(highest, lowest, 10.0, 30.0)[0] == pytest.approx(degree_days_f * 5 / 9)


def test_thermal_time_is_method_2_of_mcmaster_and_wilhelm() -> None:
    assert thermal_time(one(12.0), one(-4.0), 0.0)[0] == 6.0  # the minimum counts as the base; method 1 gives 4
