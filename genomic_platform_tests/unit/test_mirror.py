"""Landing files from a mirror: what is brought and when, what is refused, and that nothing local is lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomic_platform.errors import InputError, NotAvailable, PredecessorRunning, ProgramError, StoreUnavailable
from genomic_platform.landing import mirror
from genomic_platform.landing.files import Landing
from genomic_platform.landing.mirror import Brought, bring, fault_of
from genomic_platform.program import Program, read_program
from genomic_platform.settings import Settings
from genomic_platform.workspace import Workspace
from genomic_platform_tests.support.s3_server import ABSENT, s3_missing, s3_server

Made = Callable[..., Program]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The mirror, with a trial file and a genotype file."""
    put(tmp_path / "store" / "trials" / "2019.csv", "season\n2019\n")
    put(tmp_path / "store" / "genotypes" / "panel.vcf.gz", "calls")
    return tmp_path / "store"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace", Settings(workspace=str(tmp_path / "workspace")))


@pytest.fixture
def made(tmp_path: Path, store: Path, workspace: Workspace) -> Made:
    """Makes a registered programme with a mirror."""

    def make(name: str = "mirrored", address: str = "") -> Program:
        put(tmp_path / name / "program.toml", f'format_version = 1\nname = "{name}"\n[traits.yield]\n'
            f'[landing]\nmirror = "{address or store.as_uri()}"\n')
        program = read_program(tmp_path / name)
        workspace.register(program)
        return program

    return make


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def landed(program: Program) -> dict[str, str]:
    """What landing takes, and its content."""
    return {f"{kind}/{p.name}": p.read_text() for kind in ("genotypes", "trials", "lines")
            for p in Landing(program).files(kind)}


def test_a_landing_folder_that_cannot_be_written_is_named(made: Made, workspace: Workspace) -> None:
    """As in the compose stack, which mounts programmes for reading alone; here a file is in the folder's place."""
    program = made()
    put(program.folder / "landing" / "genotypes", "no folder")
    with pytest.raises(StoreUnavailable, match=r"cannot be put into .*landing: .*repair: make room, or let"):
        bring(program, workspace)


def test_new_and_changed_objects_are_brought_and_nothing_else(made: Made, store: Path, workspace: Workspace) -> None:
    program = made()
    put(store / "trials" / "notes.md", "not for landing")
    put(store / "trials" / ".hidden.csv", "nor this")
    put(store / "archive" / "trials" / "2001.csv", "nor this")
    assert bring(program, workspace).files == ("genotypes/panel.vcf.gz", "trials/2019.csv")
    assert landed(program) == {"genotypes/panel.vcf.gz": "calls", "trials/2019.csv": "season\n2019\n"}
    before = Landing(program).signature()
    assert bring(program, workspace) == Brought()
    assert Landing(program).signature() == before
    put(store / "trials" / "2019.csv", "season\n2019\n2019\n")
    put(store / "lines" / "lines.csv", "line_id")
    assert bring(program, workspace).files == ("trials/2019.csv", "lines/lines.csv")
    assert landed(program)["trials/2019.csv"] == "season\n2019\n2019\n"


def test_an_object_written_again_with_the_same_content_changes_no_file(
        made: Made, store: Path, workspace: Workspace) -> None:
    program = made()
    bring(program, workspace)
    before = Landing(program).signature()
    os.utime(store / "trials" / "2019.csv", (1, 1))
    assert bring(program, workspace).files == ("trials/2019.csv",)
    assert Landing(program).signature() == before
    assert bring(program, workspace) == Brought()


def test_an_object_that_is_gone_stays_here_and_is_said(made: Made, store: Path, workspace: Workspace) -> None:
    program = made()
    bring(program, workspace)
    (store / "trials" / "2019.csv").unlink()
    found = bring(program, workspace)
    assert found.gone == ("trials/2019.csv",)
    assert "stays until you remove it" in found.said()
    assert "trials/2019.csv" in landed(program)
    (program.folder / "landing" / "trials" / "2019.csv").unlink()
    assert bring(program, workspace) == Brought()


def test_a_local_copy_that_was_removed_is_brought_again(made: Made, workspace: Workspace) -> None:
    program = made()
    bring(program, workspace)
    shutil.rmtree(program.folder / "landing")
    bring(program, workspace)
    assert set(landed(program)) == {"genotypes/panel.vcf.gz", "trials/2019.csv"}


def test_a_persons_own_file_is_never_replaced(made: Made, store: Path, workspace: Workspace) -> None:
    """Put here before the mirror knew the name, or edited since; one of equal content is taken for it."""
    program = made()
    own = program.folder / "landing" / "trials" / "2019.csv"
    put(own, "my own\n")
    for _ in range(2):
        with pytest.raises(InputError, match=r"landing/trials/2019\.csv: one that was put or edited here") as refused:
            bring(program, workspace)
        assert len(refused.value.problems) == 1
        assert own.read_text() == "my own\n"
    put(own, "season\n2019\n")
    bring(program, workspace)
    assert bring(program, workspace) == Brought()
    put(own, "edited\n")
    assert bring(program, workspace) == Brought()
    put(store / "trials" / "2019.csv", "season\n2020\n")
    with pytest.raises(InputError, match="put or edited here"):
        bring(program, workspace)
    own.unlink()
    bring(program, workspace)
    assert own.read_text() == "season\n2020\n"


def test_what_time_does_not_suffice_for_goes_on_at_the_next_look(
        made: Made, store: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a file, from where the look before stopped; a version that was written meanwhile begins anew."""
    monkeypatch.setattr(mirror, "_CHUNK", 1000)
    program = made()
    large = store / "genotypes" / "panel.vcf.gz"
    put(large, "A" * 2500)
    folder = program.folder / "landing" / "genotypes"
    for size in (1000, 2000):
        with pytest.raises(StoreUnavailable, match="0 of 2 new or changed files"):
            bring(program, workspace, seconds=0)
        assert [p.stat().st_size for p in folder.iterdir()] == [size]
        assert Landing(program).files("genotypes") == []
    put(large, "C" * 1500)
    with pytest.raises(StoreUnavailable):
        bring(program, workspace, seconds=0)
    bring(program, workspace)
    assert [p.read_text() for p in folder.iterdir()] == ["C" * 1500]


@pytest.mark.parametrize("notes", ["", "[]", "null", '{"trials/2019.csv": []}', '{"trials/2019.csv": {"x": 1}}', "\0"])
def test_spoilt_notes_of_what_was_copied_cost_a_look_and_nothing_else(made: Made, workspace: Workspace,
                                                                       notes: str) -> None:
    program = made()
    bring(program, workspace)
    put(program.folder / "landing" / mirror.KEPT, notes)
    before = landed(program)
    bring(program, workspace)
    assert landed(program) == before
    assert bring(program, workspace) == Brought()


def test_a_copy_that_is_not_whole_stays_when_a_file_of_a_shorter_name_comes(tmp_path: Path) -> None:
    longer, shorter = (mirror.Object(f"genotypes/{name}", name, 9, 1) for name in ("a.vcf.gz", "a.vcf"))
    part = mirror._part(tmp_path / longer.name, longer)
    part.write_text("half")
    older = mirror._part(tmp_path / shorter.name, mirror.Object(shorter.name, "a.vcf", 9, 0))
    older.write_text("half")
    mirror._part(tmp_path / shorter.name, shorter)
    assert [part.exists(), older.exists()] == [True, False]


def test_an_object_that_changes_while_it_is_copied_is_not_taken(made: Made, store: Path) -> None:
    """Listed half-uploaded, whole when it is read."""
    from pyarrow.fs import LocalFileSystem

    path = store / "trials" / "2019.csv"
    listed = mirror.Object("trials/2019.csv", str(path), 4, path.stat().st_mtime_ns)
    program = made()
    with pytest.raises(StoreUnavailable, match="changed while it was copied"):
        mirror.Copying(program.folder / "landing", LocalFileSystem(), store.as_uri(), float("inf")).take([listed])
    assert list((program.folder / "landing" / "trials").iterdir()) == []


@pytest.mark.parametrize(("name", "what"), [
    ("old/2001.csv", "a folder in it"), ("a\nb.csv", "expected a printable name"),
    ("..\\..\\b.csv", "leave the landing folder"), ("x" * 240 + ".csv", "at most 200 bytes")])
def test_a_name_that_landing_cannot_have_stops_the_look(made: Made, store: Path, workspace: Workspace, name: str,
                                                        what: str) -> None:
    program = made()
    put(store / "trials" / name, "season\n")
    with pytest.raises(InputError, match=what) as refused:
        bring(program, workspace)
    assert len(refused.value.problems) == 1
    assert landed(program) == {}


@given(st.lists(st.sampled_from(["..", ".", "", "a", "/", "\\", "\0", "\n", "é", ".csv"]), max_size=6).map("".join))
def test_a_name_that_is_accepted_lies_in_its_folder(name: str) -> None:
    if fault_of(name) is None:
        path = Path(os.path.normpath(Path("/landing/trials") / name))
        assert path.parent == Path("/landing/trials")
        assert path.name == name


def test_a_programme_whose_seasons_are_run_is_left_alone(made: Made, workspace: Workspace) -> None:
    program = made()
    with workspace.turn(program.name), pytest.raises(PredecessorRunning, match="are being run"):
        bring(program, workspace)
    assert landed(program) == {}


def test_two_programmes_have_two_mirrors(made: Made, store: Path, workspace: Workspace) -> None:
    one, other = made("one_program"), made("other_program", store.as_uri() + "/")
    for program, rival in ((one, "other_program"), (other, "one_program")):
        with pytest.raises(ProgramError, match=f"mirror of programme {rival} too"):
            bring(program, workspace)
    put(other.folder / "program.toml", "broken")
    bring(one, workspace)


def test_addresses_that_cannot_be_used(made: Made, tmp_path: Path, workspace: Workspace) -> None:
    for address, error, what in [
            ("nonsense://a/b", ProgramError, "Unrecognized filesystem"),
            ("s3://bucket/prefix?endpoint=x", ProgramError, "Unexpected query parameter"),
            ("file:///", ProgramError, "no bucket or folder"),
            ((tmp_path / "own" / "landing").as_uri(), ProgramError, "own landing folder"),
            ((tmp_path / "nowhere").as_uri(), NotAvailable, "nothing is at")]:
        with pytest.raises(error, match=what):
            bring(made("own", address), workspace)
    for address, what in (("/a/folder", "expected an address"), ("s3://key:secret@bucket/prefix", "without keys")):
        with pytest.raises(ProgramError, match=what):
            made("own", address)


@pytest.mark.s3
@pytest.mark.slow
def test_a_mirror_on_s3(made: Made, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Brought, changed, gone; keys that would leave the folder; and, last, a server that went away."""
    if s3_missing():
        pytest.skip(ABSENT)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with s3_server(tmp_path) as server:
        program = made(address=server.address("small"))
        with pytest.raises(NotAvailable, match="nothing is at"):
            bring(program, workspace)
        server.put("small/trials/", b"")
        server.put("small/trials/2019.csv", b"season\n2019\n")
        server.put("small/genotypes/panel.vcf.gz", bytes(20_000_000))
        assert bring(program, workspace).files == ("genotypes/panel.vcf.gz", "trials/2019.csv")
        assert bring(program, workspace) == Brought()
        server.put("small/trials/2019.csv", b"season\n2019\n2019\n")
        assert bring(program, workspace).files == ("trials/2019.csv",)
        server.remove("small/genotypes/panel.vcf.gz")
        assert bring(program, workspace).gone == ("genotypes/panel.vcf.gz",)
        before = Landing(program).signature()
        for key in ("../../../../evil.csv", "/evil.csv", "..\\evil.csv", "folder/evil.csv"):
            server.put(f"small/trials/{key}", b"season\n")
            with pytest.raises(InputError, match=r"evil\.csv") as refused:
                bring(program, workspace)
            assert len(refused.value.problems) == 1
            server.remove(f"small/trials/{key}")
    with pytest.raises(StoreUnavailable, match="cannot be copied"):
        bring(program, workspace)
    assert Landing(program).signature() == before
    assert list(tmp_path.rglob("evil*")) == []
