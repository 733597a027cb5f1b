"""Daily weather summed up over named windows: the features of an environment, each with unit and source (`FEATURES`).

Formulas of single days are in `weather_formulas`, windows in `weather_windows`, standardising over environments in
`environments` and `environment_kernel`. The same functions serve training, batch and serving. Axis: D days.

Missing days: a gap of at most three days in temperature, humidity or radiation is bridged by a straight line between
the days beside it; over a longer gap, and over any gap in rain, the features of the windows it lies in are left out.
As-of rule: only days up to the harvest, or to the last day known before it, are looked at.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from genomic_platform.errors import Notice, counted
from genomic_platform.phenotypes import weather_formulas as formulas
from genomic_platform.phenotypes.weather import VARIABLES
from genomic_platform.phenotypes.weather_windows import WINDOWS, Crop, Window, require_distinct, span_of
from genomic_platform.schemas.phenotypes import ENVIRONMENT_RECORDS

#: Days in a row that a straight line may bridge.
LONGEST_BRIDGE = 3


@dataclass(frozen=True)
class Days:
    """An environment's days from planting on: `values` by daily variable, NaN = unknown; latitude, degrees north."""

    values: dict[str, np.ndarray]
    day_of_year_D: np.ndarray
    latitude: float
    crop: Crop

    @property
    def max_D(self) -> np.ndarray:
        return self.values["air_temperature_max_c"]

    @property
    def min_D(self) -> np.ndarray:
        return self.values["air_temperature_min_c"]

    @property
    def rain_D(self) -> np.ndarray:
        return self.values["rain_mm"]

    @property
    def thermal_D(self) -> np.ndarray:
        return formulas.thermal_time(self.max_D, self.min_D, self.crop.base_c, self.crop.ceiling_c)

    @property
    def deficit_D(self) -> np.ndarray:
        return formulas.vapour_pressure_deficit(self.max_D, self.min_D, dew_point_D=self.values["dew_point_c"],
                                                humidity_D=self.values["relative_humidity_pct"])

    @property
    def evapotranspiration_D(self) -> np.ndarray:
        radiation_D = formulas.extraterrestrial_radiation(self.day_of_year_D, self.latitude)
        return formulas.hargreaves(self.max_D, self.min_D, radiation_D)


@dataclass(frozen=True)
class Feature:
    """One feature: unit, formula in words, source; the value of a day, and how a window's days become one number."""

    unit: str
    formula: str
    source: str
    daily: Callable[[Days], np.ndarray]
    over: Callable[[np.ndarray], float | np.floating]


def _where(condition_D: np.ndarray, known_D: np.ndarray) -> np.ndarray:
    """1 where a condition holds, 0 where not, NaN where the day is unknown."""
    return np.where(np.isnan(known_D), np.nan, condition_D)


def _longest(values_D: np.ndarray) -> float:
    """Longest run of ones; NaN with an unknown day."""
    if np.isnan(values_D).any():
        return np.nan
    ends = np.flatnonzero(np.diff(np.concatenate([[0.0], values_D, [0.0]])))
    return float((ends[1::2] - ends[::2]).max(initial=0))


_EXTREMES = "Zhang et al. 2011, WIREs Climate Change 2:851-870"
FEATURES = {
    "temperature_mean_c": Feature("°C", "mean of (maximum + minimum) / 2", "FAO-56 eq. 9",
                                  lambda d: (d.max_D + d.min_D) / 2, np.mean),
    "temperature_max_c": Feature("°C", "mean of the daily maxima", "FAO-56 chapter 3", lambda d: d.max_D, np.mean),
    "temperature_min_c": Feature("°C", "mean of the daily minima", "FAO-56 chapter 3", lambda d: d.min_D, np.mean),
    "temperature_range_c": Feature("°C", "mean of maximum − minimum", f"{_EXTREMES}, index DTR",
                                   lambda d: d.max_D - d.min_D, np.mean),
    "thermal_time_c_d": Feature("°C d", "sum of growing degree-days between base and ceiling",
                                "McMaster & Wilhelm 1997 eq. 1, method 2", lambda d: d.thermal_D, np.sum),
    "heat_days": Feature("days", "days with the maximum above the crop's heat temperature",
                         f"{_EXTREMES}, index SU with the crop's temperature",
                         lambda d: _where(d.max_D > d.crop.heat_c, d.max_D), np.sum),
    "frost_days": Feature("days", "days with the minimum below the crop's frost temperature", f"{_EXTREMES}, index FD",
                          lambda d: _where(d.min_D < d.crop.frost_c, d.min_D), np.sum),
    "rain_mm": Feature("mm", "sum of rain", f"{_EXTREMES}, index PRCPTOT (all days)", lambda d: d.rain_D, np.sum),
    "dry_days": Feature("days", "days with less rain than a wet day has", f"{_EXTREMES}, dry day of index CDD",
                        lambda d: _where(d.rain_D < d.crop.wet_mm, d.rain_D), np.sum),
    "dry_spell_days": Feature("days", "longest run of dry days inside the window", f"{_EXTREMES}, index CDD",
                              lambda d: _where(d.rain_D < d.crop.wet_mm, d.rain_D), _longest),
    "vapour_pressure_deficit_kpa": Feature("kPa", "mean of e_s − e_a, e_a from dew point, else humidity",
                                           "FAO-56 eq. 11, 12, 14, 19", lambda d: d.deficit_D, np.mean),
    "solar_radiation_mj_m2": Feature("MJ/m²", "sum of solar radiation", "FAO-56 chapter 3",
                                     lambda d: d.values["solar_radiation_mj_m2"], np.sum),
    "photoperiod_h": Feature("h", "mean of hours from sunrise to sunset", "Forsythe et al. 1995 eq. 1–3, p = 0.8333",
                             lambda d: formulas.daylength(d.day_of_year_D, d.latitude), np.mean),
    "evapotranspiration_mm": Feature("mm", "sum of reference evapotranspiration by temperature", "FAO-56 eq. 52, 21",
                                     lambda d: d.evapotranspiration_D, np.sum),
    "water_balance_mm": Feature("mm", "sum of rain − reference evapotranspiration", "FAO-56 eq. 52, 21",
                                lambda d: d.rain_D - d.evapotranspiration_D, np.sum),
}


@dataclass
class _Found:
    """What was made and what was left out, over all environments."""

    rows: list[tuple[str, str, str, str, float]] = field(default_factory=list)
    bridged: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=lambda: {"incomplete": [], "harvested": [], "gap": []})


def weather_features(daily: pl.DataFrame, places: pl.DataFrame, windows: Sequence[Window] = WINDOWS,
                     crop: Crop | None = None, known_until: datetime.date | None = None,
                     ) -> tuple[pl.DataFrame, list[Notice]]:
    """Features of every environment with weather and a planting date, as records named `<window>_<feature>`.

    Parameters
    ----------
    daily : contract DAILY_WEATHER.
    places : environment, season, location, latitude, planting_date, harvest_date (`environment_places`).
    windows : distinct names. crop : temperatures of its clock and stress; None = the defaults of `Crop`.
    known_until : for a prediction before harvest, the last day that may be looked at; None = all up to the harvest.

    Returns
    -------
    Records (contract ENVIRONMENT_RECORDS), features that can be made only, and notices naming what was left out:
    windows not complete yet, windows the harvest cut short, gaps.
    """
    require_distinct(windows)
    found, crop = _Found(), crop or Crop()
    sown = places.drop_nulls("planting_date")
    by_environment = daily.partition_by("environment", as_dict=True)
    for place in sown.iter_rows(named=True):
        table = by_environment.get((place["environment"],))
        last = min(d for d in (place["harvest_date"], known_until, datetime.date.max) if d is not None)
        table = table.filter(pl.col("date") <= last) if table is not None else None
        if table is not None and (table["date"] >= place["planting_date"]).any():
            _add(found, place, table, windows, crop)
        elif table is not None:
            found.outside.append(place["environment"])
    records = pl.DataFrame(found.rows, schema=ENVIRONMENT_RECORDS.schema, orient="row")
    return ENVIRONMENT_RECORDS.conform(records), [*_absences(daily, places), *_notices(found)]


def _add(found: _Found, place: dict[str, object], table: pl.DataFrame, windows: Sequence[Window], crop: Crop) -> None:
    name, planted = str(place["environment"]), place["planting_date"]
    assert isinstance(planted, datetime.date)
    days, bridged = _days(table, planted, place["latitude"], crop)
    if bridged:
        found.bridged.append(f"{name}: {', '.join(bridged)}")
    of_day = {feature: rule.daily(days) for feature, rule in FEATURES.items()}
    known = {feature for feature, values_D in of_day.items() if not np.isnan(values_D).all()}
    harvested = table["date"].max() == place["harvest_date"]
    missed: dict[str, list[str]] = {why: [] for why in found.left_out}
    for window in windows:
        span = span_of(window, days.thermal_D, harvested)
        if span.why:
            if window.clock != "thermal" or "thermal_time_c_d" in known:
                missed[span.why].append(window.name)
            continue
        for feature in (f for f in FEATURES if f in known):
            value = float(FEATURES[feature].over(of_day[feature][span.first:span.last]))
            if np.isnan(value):
                missed["gap"].append(f"{window.name}_{feature}")
            else:
                found.rows.append((name, str(place["season"]), str(place["location"]), f"{window.name}_{feature}",
                                   value))
    for why, names in missed.items():
        found.left_out[why] += [f"{name}: {', '.join(names[:4])}{', …' * (len(names) > 4)}"] if names else []


def _days(table: pl.DataFrame, planted: datetime.date, latitude: object, crop: Crop) -> tuple[Days, list[str]]:
    """Every day from planting to the table's last, short gaps bridged; and which variables were bridged on how many."""
    last = table["date"].max()
    assert isinstance(last, datetime.date)
    lead = LONGEST_BRIDGE
    dates = pl.date_range(planted - datetime.timedelta(days=lead), last, eager=True).alias("date")
    whole = dates.to_frame().join(table, on="date", how="left", maintain_order="left")
    values, bridged = {}, []
    for variable in VARIABLES:
        raw_D = whole[variable].to_numpy()
        filled_D = raw_D if variable == "rain_mm" else bridge(raw_D)
        values[variable] = filled_D[lead:]
        if n := int((np.isnan(raw_D) & ~np.isnan(filled_D))[lead:].sum()):
            bridged.append(f"{variable} on {counted(n, 'day')}")
    north = float(latitude) if isinstance(latitude, float) else np.nan
    return Days(values, dates.dt.ordinal_day().to_numpy()[lead:].astype(np.float64), north, crop), bridged


def bridge(values_D: np.ndarray, longest: int = LONGEST_BRIDGE) -> np.ndarray:
    """`values_D` with gaps (NaN) of at most `longest` days filled by a straight line between the days beside them."""
    unknown_D = np.isnan(values_D)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], unknown_D, [False]]).astype(np.int8)))
    filled_D = values_D.copy()
    for first, end in zip(edges[::2], edges[1::2], strict=True):
        if first > 0 and end < len(values_D) and end - first <= longest:
            filled_D[first:end] = np.interp(np.arange(first, end), [first - 1, end],
                                            [values_D[first - 1], values_D[end]])
    return filled_D


def _absences(daily: pl.DataFrame, places: pl.DataFrame) -> list[Notice]:
    with_weather = set(daily["environment"])
    sown = set(places.drop_nulls("planting_date")["environment"])
    placed = set(places.drop_nulls("latitude")["environment"])
    cases = (("weather_without_planting_date", with_weather - sown, "with daily weather but no planting date in the "
              "environment file; their weather is not used"),
             ("weather_without_latitude", (with_weather & sown) - placed, "with daily weather but no latitude; no "
              "photoperiod and evapotranspiration"),
             ("weather_absent", set(places["environment"]) - with_weather if with_weather else set(),
              "without daily weather"))
    return [Notice(code, f"{counted(len(names), 'environment')} {said}", len(names), tuple(sorted(names)[:3]))
            for code, names, said in cases if names]


def _notices(found: _Found) -> list[Notice]:
    said = {"incomplete": "windows not complete yet on the last day of weather, left out",
            "harvested": "windows that the harvest cut short, left out",
            "gap": "features left out, since days are missing"}
    cases = [("weather_outside", "daily weather without a day from planting to the last one that may be looked at",
              found.outside),
             ("weather_bridged", "short gaps of daily weather bridged by a straight line", found.bridged),
             *((f"weather_{why}", said[why], names) for why, names in found.left_out.items())]
    return [Notice(code, message, len(names), tuple(names[:3])) for code, message, names in cases if names]
