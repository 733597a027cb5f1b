"""program.toml and field seasons: what is read, what is refused, and how each fault is named."""

from pathlib import Path

import pytest

from genomic_platform.errors import ProgramError
from genomic_platform.program import FieldSeason, program_name, read_program

EXAMPLES = Path(__file__).parents[2] / "examples"

GOOD = """
format_version = 1
name = "wheat_north"
[traits.grain_yield_t_ha]
unit = "t/ha"
"""


def write(folder: Path, text: str) -> Path:
    (folder / "program.toml").write_text(text, encoding="utf-8")
    return folder


def test_defaults(tmp_path: Path) -> None:
    program = read_program(write(tmp_path, GOOD))
    trait = program.traits["grain_yield_t_ha"]
    assert (trait.direction, trait.weight, trait.unit) == ("maximise", 1.0, "t/ha")
    assert (program.file.line_means.means, program.file.line_means.weights) == ("blue", "errors")
    assert program.file.candidates == ("genomic_blup", "kernel")


def test_budget_of_searches(tmp_path: Path) -> None:
    plain = read_program(write(tmp_path, GOOD))
    assert (plain.file.search_budget.trials, plain.file.search_budget.minutes) == (20, 10.0)
    asked = read_program(write(tmp_path, f"{GOOD}[search]\ntrials = 40\nminutes = inf\n"))
    assert (asked.file.search_budget.trials, asked.file.search_budget.minutes) == (40, float("inf"))
    assert asked.settings_digest("search") != plain.settings_digest("search") == plain.settings_digest()


@pytest.mark.parametrize("name", ["rice_japonica_uy", "wheat_cimmyt599"])
def test_examples_are_valid_and_name_their_sources(name: str) -> None:
    program = read_program(EXAMPLES / name)
    assert program.name == name
    files = {s.file for s in program.file.sources}
    landed = {p.relative_to(program.folder).as_posix() for p in (program.folder / "landing").rglob("*") if p.is_file()}
    assert files == landed
    assert all(s.licence != "unknown" and s.jurisdiction != "unknown" for s in program.file.sources)


@pytest.mark.parametrize(("change", "said"), [
    (("format_version = 1", "format_version = 2"), "format_version"),
    (('"wheat_north"', '"Wheat North"'), "name"),
    (('"wheat_north"', '"ab"'), "name"),
    (('unit = "t/ha"', 'direction = "up"'), "traits.grain_yield_t_ha.direction"),
    (('unit = "t/ha"', 'units = "t/ha"'), "traits.grain_yield_t_ha.units"),
    (("grain_yield_t_ha", '"grain yield"'), "letters, digits and _"),
    (("[traits", 'candidates = ["gblup"]\n[traits'), "unknown recipe gblup"),
    (("[traits", "[genotype_qc]\nmin_line_call_rate = 2\n[traits"), "genotype_qc.min_line_call_rate"),
    (("[traits", "[[traits.x"), "not valid TOML"),
    (("[traits", f"x = {'[' * 100_000}\n[traits"), "not valid TOML"),
    (("[traits", "[search]\ntrials = 0\n[traits"), "search.trials: expected at least 1, found 0"),
    (("[traits", "[search]\nminutes = 0\n[traits"), "search.minutes: expected more than 0, found 0"),
    (("[traits", "[search]\nminutes = nan\n[traits"), "search.minutes"),
    (("[traits", "[search]\nhours = 1\n[traits"), "search.hours"),
])
def test_faults_are_named(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    with pytest.raises(ProgramError, match=r"program\.toml") as caught:
        read_program(write(tmp_path, GOOD.replace(*change)))
    assert said in str(caught.value)


def test_all_faults_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("wheat_north", "X").replace('unit = "t/ha"', 'direction = "up"')
    with pytest.raises(ProgramError) as caught:
        read_program(write(tmp_path, text))
    assert len(str(caught.value).splitlines()) == 2


def test_no_programme_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="genomic-platform init"):
        read_program(tmp_path)


def test_field_season_names() -> None:
    season = FieldSeason("rice", "2013-14")
    assert (season.key, season.path, season.tag) == ("rice:2013-14", "rice/2013-14", "rice--2013-14")
    assert FieldSeason.from_key(season.key) == season
    for program, label in (("Rice", "2013"), ("rice", "2013/14"), ("rice", ""), ("rice", "x" * 17)):
        with pytest.raises(ProgramError):
            FieldSeason(program, label)


@pytest.mark.parametrize(("text", "name"), [
    ("Rice 2024!", "rice_2024"), ("2024 wheat", "p_2024_wheat"), ("ab", "ab_program")])
def test_program_name_from_a_folder(text: str, name: str) -> None:
    assert program_name(text) == name


def test_settings_digest_follows_only_its_sections(tmp_path: Path) -> None:
    one = read_program(write(tmp_path, GOOD))
    two = read_program(write(tmp_path, GOOD.replace("[traits", '[index]\nvalue = "breeding_value"\n[traits')))
    assert one.settings_digest("traits") == two.settings_digest("traits")
    assert one.settings_digest("index") != two.settings_digest("index")
