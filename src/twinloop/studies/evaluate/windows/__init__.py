"""How long slices should stand: windows that follow the network's dynamics against fixed ones."""

from twinloop.studies.evaluate.windows.judging import evaluate_windows

__all__ = ["evaluate_windows"]
