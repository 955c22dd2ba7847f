"""One function a figure: each takes a run (or the path of its directory) and returns a matplotlib Figure.

All raise OutputError, with a sentence for the reader, when the run does not hold what the figure shows.
"""
