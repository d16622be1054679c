"""A brain and its distance map as one volume that Vaa3D shows and traces."""

from neuroconn.export.report import ExportReport
from neuroconn.export.run import export

__all__ = ["ExportReport", "export"]
