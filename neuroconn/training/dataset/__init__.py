"""Datasets: crops of annotated brains on disk, made once and read while networks learn."""

from neuroconn.training.dataset.build import dataset
from neuroconn.training.dataset.reading import Dataset, open_dataset
from neuroconn.training.dataset.report import DatasetReport

__all__ = ["Dataset", "DatasetReport", "dataset", "open_dataset"]
