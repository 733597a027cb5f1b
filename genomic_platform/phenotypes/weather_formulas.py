"""Agrometeorology of single days: vapour pressure, evapotranspiration, daylength, thermal time. Arrays in, arrays out.

Which days are summed is in `weather_windows`, which formulas become features in `weather_features`. Axis: D days.
References: FAO-56, Allen et al. 1998, FAO Irrigation and Drainage Paper 56; Forsythe et al. 1995, Ecological Modelling
80:87-95; McMaster & Wilhelm 1997, Agricultural and Forest Meteorology 87:291-300.
"""

from __future__ import annotations

import numpy as np

#: Sun's centre below the horizon at sunrise and sunset, degrees: upper limb on the horizon, with refraction
#: (Forsythe et al. 1995, table 1, the definition with p = 0.8333).
SUNRISE_ANGLE = 0.8333
#: Solar constant, MJ m⁻² min⁻¹ (FAO-56 eq. 21), and millimetres of water that 1 MJ m⁻² evaporates (eq. 20).
SOLAR_CONSTANT = 0.0820
MM_PER_MJ = 0.408


def saturation_vapour_pressure(temperature_c: np.ndarray | float) -> np.ndarray:
    """e°(T) in kPa of air at `temperature_c`, °C (FAO-56 eq. 11)."""
    temperature_c = np.asarray(temperature_c, dtype=np.float64)
    return 0.6108 * np.exp(17.27 * temperature_c / (temperature_c + 237.3))


def mean_saturation_vapour_pressure(max_D: np.ndarray, min_D: np.ndarray) -> np.ndarray:
    """e_s of a day, kPa: the mean of e° at the day's maximum and minimum temperature, °C (FAO-56 eq. 12)."""
    return (saturation_vapour_pressure(max_D) + saturation_vapour_pressure(min_D)) / 2


def actual_vapour_pressure(max_D: np.ndarray, min_D: np.ndarray, *, dew_point_D: np.ndarray | None = None,
                           humidity_D: np.ndarray | None = None) -> np.ndarray:
    """e_a of a day, kPa; NaN where neither dew point nor humidity is known.

    From the dew point, °C, where it is known (FAO-56 eq. 14), else from mean relative humidity, % (eq. 19).
    """
    found_D = np.full(np.shape(max_D), np.nan)
    if humidity_D is not None:
        found_D = np.asarray(humidity_D) / 100 * mean_saturation_vapour_pressure(max_D, min_D)
    if dew_point_D is not None:
        found_D = np.where(np.isnan(dew_point_D), found_D, saturation_vapour_pressure(dew_point_D))
    return found_D


def vapour_pressure_deficit(max_D: np.ndarray, min_D: np.ndarray, *, dew_point_D: np.ndarray | None = None,
                            humidity_D: np.ndarray | None = None) -> np.ndarray:
    """e_s − e_a of a day, kPa, not below 0 (FAO-56 eq. 11–19, chapter 3 "Vapour pressure deficit")."""
    actual_D = actual_vapour_pressure(max_D, min_D, dew_point_D=dew_point_D, humidity_D=humidity_D)
    return np.maximum(mean_saturation_vapour_pressure(max_D, min_D) - actual_D, 0.0)


def extraterrestrial_radiation(day_of_year_D: np.ndarray, latitude: float) -> np.ndarray:
    """Ra of a day, MJ m⁻² d⁻¹, from day of the year (1–366) and latitude, degrees north (FAO-56 eq. 21–25)."""
    turn_D = 2 * np.pi / 365 * np.asarray(day_of_year_D, dtype=np.float64)
    distance_D = 1 + 0.033 * np.cos(turn_D)
    declination_D = 0.409 * np.sin(turn_D - 1.39)
    phi = np.radians(latitude)
    sunset_D = np.arccos(np.clip(-np.tan(phi) * np.tan(declination_D), -1.0, 1.0))
    return 24 * 60 / np.pi * SOLAR_CONSTANT * distance_D * (
        sunset_D * np.sin(phi) * np.sin(declination_D) + np.cos(phi) * np.cos(declination_D) * np.sin(sunset_D))


def hargreaves(max_D: np.ndarray, min_D: np.ndarray, radiation_D: np.ndarray) -> np.ndarray:
    """Reference evapotranspiration ET₀ by temperature alone, mm d⁻¹, not below 0 (FAO-56 eq. 52).

    Parameters
    ----------
    max_D, min_D : the day's maximum and minimum temperature, °C.
    radiation_D : extraterrestrial radiation, MJ m⁻² d⁻¹.
    """
    mean_D = (max_D + min_D) / 2
    return np.maximum(0.0023 * (mean_D + 17.8) * np.sqrt(np.maximum(max_D - min_D, 0.0)) * MM_PER_MJ * radiation_D, 0.0)


def daylength(day_of_year_D: np.ndarray, latitude: float, sunrise_angle: float = SUNRISE_ANGLE) -> np.ndarray:
    """Hours from sunrise to sunset, 0 to 24, by the CBM model (Forsythe et al. 1995 eq. 1–3).

    Parameters
    ----------
    day_of_year_D : 1–366. latitude : degrees north.
    sunrise_angle : degrees of the sun's centre below the horizon that count as day; 6 = with civil twilight.
    """
    revolution_D = 0.2163108 + 2 * np.arctan(0.9671396 * np.tan(0.00860 * (np.asarray(day_of_year_D) - 186)))
    declination_D = np.arcsin(0.39795 * np.cos(revolution_D))
    phi = np.radians(np.clip(latitude, -89.999, 89.999))
    hour_D = (np.sin(np.radians(sunrise_angle)) + np.sin(phi) * np.sin(declination_D)) / (
        np.cos(phi) * np.cos(declination_D))
    return 24 - 24 / np.pi * np.arccos(np.clip(hour_D, -1.0, 1.0))


def thermal_time(max_D: np.ndarray, min_D: np.ndarray, base_c: float, ceiling_c: float = np.inf) -> np.ndarray:
    """Growing degree-days of a day, °C d: (T_max + T_min) / 2 − T_base (McMaster & Wilhelm 1997 eq. 1, method 2).

    In their method 2, usual for maize, T_max and T_min are each set to `base_c` where they are below it before the
    mean is taken (method 1 sets only the mean); each is set to `ceiling_c` where it is above that.
    """
    return (np.clip(max_D, base_c, ceiling_c) + np.clip(min_D, base_c, ceiling_c)) / 2 - base_c
