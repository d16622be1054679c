"""A brain and its distance map as one volume that Vaa3D shows and traces."""

from neuroconn.exporter.report import ExportReport
from neuroconn.exporter.run import export

__all__ = ["ExportReport", "export"]
