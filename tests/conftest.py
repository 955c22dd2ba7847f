"""Every test runs with shapes and types checked, strict rank promotion, and warnings as errors."""

import logging
import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Compiling is most of what tests cost, and their runs are short.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
)
install_import_hook("twinloop", "beartype.beartype")

# A machine that is busy is no fault of what is tested.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

import jax  # noqa: E402 - the import hook must stand before anything imports twinloop

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parent.parent / ".cache" / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


MOST_MAPPED = 25_000
_maps = Path("/proc/self/maps")


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Between modules, forget compiled programs before their mapped memory nears what Linux allows (65,530 pieces)."""
    if nextitem is None or nextitem.path == item.path or not _maps.exists():
        return
    with _maps.open() as lines:
        mapped = sum(1 for _ in lines)
    if mapped > MOST_MAPPED:
        jax.clear_caches()


@pytest.fixture(autouse=True)
def logs_as_before():
    """A command that logs to its own terminal leaves nothing of that to the tests after it."""
    loggers = logging.getLogger(), logging.getLogger("twinloop")
    before = [(logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of public data sets; tests that need it skip, saying why, where it is missing."""
    folder = Path(os.environ.get("TWINLOOP_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no public data sets at {folder}; set TWINLOOP_DATA to run this test")
    return folder


@pytest.fixture(scope="session")
def tiny():
    """The campus with twelve users, two minutes and cheap what-ifs."""
    from twinloop import scenario

    campus = scenario.load("campus")
    judge = campus.twin.judge.model_copy(update={"samples": 2, "slot_horizon": 2, "window_horizon": 3})
    changes = {
        "name": "tiny",
        "duration": 120.0,
        "window": 60.0,
        "users": [population.model_copy(update={"count": 4}) for population in campus.users],
        "twin": campus.twin.model_copy(update={"judge": judge, "ratings": 0}),
    }
    return campus.model_copy(update=changes)


@pytest.fixture(scope="session")
def programs():
    """Every program that was compiled stays, so that all runs of the session share them: tracing is what costs."""
    from twinloop.runs import blocks

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "MOST_PROGRAMS", 10_000)
        yield


@pytest.fixture(scope="session")
def tiny_run(tiny, programs, tmp_path_factory):
    """One saved run of `tiny` to its end; read it only."""
    from twinloop import runs

    return runs.run(tiny, out=tmp_path_factory.mktemp("tiny") / "run", command="twinloop run tiny")


@pytest.fixture
def twinloop(monkeypatch, capsys, tmp_path):
    """Calls the program in an empty folder; gives status, output and error text."""
    from twinloop.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("TWINLOOP_DATA", raising=False)

    def call(*arguments: object) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["twinloop", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code, *capsys.readouterr())

    return call
