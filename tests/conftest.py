"""Every test runs with shapes and types checked, strict rank promotion, and warnings as errors."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

os.environ.setdefault("JAX_PLATFORMS", "cpu")
install_import_hook("twinloop", "beartype.beartype")

import jax  # noqa: E402 - the import hook must stand before anything imports twinloop

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parent.parent / ".cache" / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of public data sets; tests that need it skip, saying why, where it is missing."""
    folder = Path(os.environ.get("TWINLOOP_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no public data sets at {folder}; set TWINLOOP_DATA to run this test")
    return folder
