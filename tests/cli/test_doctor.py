"""`twinloop doctor` tells what is there, what is missing and what to do, and when nothing can run."""

import pytest
import typer
from typer.testing import CliRunner

import twinloop.cli.doctor as subject

Requirement = subject.Requirement


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(subject.doctor)
    return lambda **env: CliRunner().invoke(app, [], env={"COLUMNS": "200", **env})


def words(result) -> str:
    return " ".join(result.output.split())


def test_a_sound_machine_can_run(run, tmp_path):
    (tmp_path / "kaist_walks").mkdir()
    result = run(TWINLOOP_DATA=str(tmp_path))
    assert result.exit_code == 0, result.output
    for part in ("python", "cores", "memory", "jax", "equinox", "pyarrow", "jax backend", "cpu", "kaist_walks"):
        assert part in words(result)
    assert "twinloop can run here" in words(result)


def test_versions_are_the_installed_ones(run):
    import jax

    assert f"jax ok {jax.__version__}" in words(run())


def test_what_an_extra_would_add_is_named(monkeypatch):
    monkeypatch.setattr(subject, "version", lambda name: None if name == "cvxpy" else "1.0")
    asked = [Requirement("cvxpy", "1.6", "reference"), Requirement("ruff", "0.8", "dev")]
    found = {row.part: row for row in subject.extras(asked)}
    assert found["extra reference"].state == "note"
    assert "cvxpy" in found["extra reference"].found
    assert found["extra reference"].advice == "pip install 'twinloop[reference]'"
    assert found["extra dev"].state == "ok"


def test_a_missing_part_stops_and_an_old_one_is_wrong(run, monkeypatch):
    installed = {"numpy": "1.26.4", "rich": "15.0.0"}
    asked = [Requirement(name, "2", "") for name in ("numpy", "rich", "equinox")]
    monkeypatch.setattr(subject, "requirements", lambda: asked)
    monkeypatch.setattr(subject, "version", installed.get)
    assert [row.state for row in subject.parts(asked)] == ["wrong", "ok", "stops"]
    result = run()
    assert result.exit_code == 1
    assert "cannot run here" in words(result)
    assert "pip install equinox" in words(result)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("jax>=0.7", Requirement("jax", "0.7", "")),
        ("cvxpy>=1.6; extra == 'reference'", Requirement("cvxpy", "1.6", "reference")),
        ('pyright[nodejs]>=1.1.390; extra == "dev"', Requirement("pyright", "1.1.390", "dev")),
        ("twinloop[reference]; extra == 'dev'", None),
    ],
)
def test_requirements_are_read_as_metadata_writes_them(line, expected, monkeypatch):
    monkeypatch.setattr(subject.metadata, "requires", lambda name: [line])
    assert subject.requirements() == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    ("found", "least", "expected"),
    [
        ("0.10.2", "0.7", False),
        ("2.0", "2", False),
        ("1.26.4", "2", True),
        ("3.0rc1", "2.9", False),
        ("1.0", "", False),
    ],
)
def test_versions_compare_by_number(found, least, expected):
    assert subject.older(found, least) is expected


def test_a_wrong_data_folder_is_told_but_does_not_stop(run, tmp_path):
    result = run(TWINLOOP_DATA=str(tmp_path / "gone"))
    assert result.exit_code == 0
    assert "is no folder" in words(result)
    assert "To mend: data sets" in words(result)
    assert "holds no data set" in words(run(TWINLOOP_DATA=str(tmp_path)))


def test_no_data_folder_is_a_note(run, monkeypatch):
    monkeypatch.delenv("TWINLOOP_DATA", raising=False)
    assert "TWINLOOP_DATA is not set" in words(run())


@pytest.mark.parametrize("setting", ["TWINLOOP_CACHE", "XDG_CACHE_HOME"])
def test_the_cache_it_names_is_the_one_that_runs_use(setting, monkeypatch, tmp_path):
    import jax

    from twinloop.runs.blocks import use_persistent_cache

    for name in ("JAX_COMPILATION_CACHE_DIR", "TWINLOOP_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(setting, str(tmp_path))
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: jax.config.values[name] for name in names}
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        use_persistent_cache()
        assert jax.config.values["jax_compilation_cache_dir"] == str(subject.compilation_cache())
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def test_a_cache_that_cannot_be_written_is_told(run, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    result = run(TWINLOOP_CACHE=str(blocked / "jax"))
    assert result.exit_code == 0
    assert "cannot be written" in words(result)
    assert not (tmp_path / "file" / "jax").exists()


def test_a_broken_jax_stops(run, monkeypatch):
    import jax

    def broken():
        raise RuntimeError("no device\nlong story")

    monkeypatch.setattr(jax, "devices", broken)
    finding = subject.backend()
    assert (finding.state, finding.found) == ("stops", "no device")
    assert run().exit_code == 1


def test_little_memory_is_told():
    assert [subject.memory(gib).state for gib in (1.0, 8.0, None)] == ["wrong", "ok", "note"]
