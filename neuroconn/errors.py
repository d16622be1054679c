"""Everything neuroconn raises on purpose, grouped by what the caller would do about it.

::

    NeuroconnError                exit code
    ├── UsageError                2   change the command or the settings
    │   ├── ConfigError           2   a setting is unknown or out of range
    │   ├── HaloError             2   tiling would break neurites at chunk borders
    │   ├── ClusterError          2   no scheduler, or no worker that fits
    │   └── OutputError           2   the output path is taken by something else
    ├── DataError                 3   the input is not what it should be
    │   ├── VolumeError           3   a volume cannot be read, or is not a brain
    │   └── AnnotationError       3   an SWC, marker or seed file is broken
    ├── ModelError                4   weights are missing, damaged or do not fit
    ├── StorageError              74  the disk is full or refuses to write
    └── InterruptedRunError       75  run the same command again to resume
"""


class NeuroconnError(Exception):
    """A failure with a known cause; its message is one line: what, why, what to do."""

    exit_code = 1


class UsageError(NeuroconnError, ValueError):
    """The command or its settings cannot be carried out as given."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting is unknown, misspelt or out of range."""


class HaloError(UsageError):
    """A halo or a tile would let predictions break at chunk borders."""


class ClusterError(UsageError):
    """No scheduler answers, or no worker offers what the tasks need."""


class OutputError(UsageError, FileExistsError):
    """The output path holds something that is not ours, or is ours with another identity."""


class DataError(NeuroconnError, ValueError):
    """An input is not what it should be."""

    exit_code = 3


class VolumeError(DataError):
    """A volume cannot be read, or is not a (z, y, x) grey volume."""


class AnnotationError(DataError):
    """An annotation file is broken, or does not fit the volume it is laid over."""


class ModelError(NeuroconnError, ValueError):
    """Weights are missing, damaged, non-finite, or do not fit the network."""

    exit_code = 4


class StorageError(NeuroconnError, OSError):
    """The storage refused a write, most often because it is full."""

    exit_code = 74


class InterruptedRunError(NeuroconnError):
    """The run stopped early; the same command resumes it."""

    exit_code = 75
