"""Settings: frozen schemas that own every default, and presets that hold only what differs."""

from neuroconn.config.base import Settings, load_yaml, parse_assignments, resolve
from neuroconn.config.presets import find_preset, find_site, list_presets, list_sites

__all__ = [
    "Settings",
    "find_preset",
    "find_site",
    "list_presets",
    "list_sites",
    "load_yaml",
    "parse_assignments",
    "resolve",
]
