"""A local MQTT re-publisher for Navien NaviLink water heaters and Mysa thermostats."""

from __future__ import annotations

from typing import Final

__version__: Final = "0.1.0"
