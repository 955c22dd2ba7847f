"""Ways to collect, compared: error of what is emulated against bits of reports."""

from twinloop.studies.evaluate.collection.evaluation import DATASETS, evaluate_collection

__all__ = ["DATASETS", "evaluate_collection"]
