"""What is private in Mysa's messages, for captures (`docs/protocol/mysa.md` 1, 2 and 4).

Devices, users, homes and zones have ids that are recognised by their look wherever they stand.
"""

from __future__ import annotations

from typing import Final

from navibridge.capture import Private

PRIVATE: Final = Private(
    names=frozenset({"Message", "ip", "mac", "ssid", "SSID", "serial", "serialNumber", "SourceIP", "Address", "Name"}),
    patterns=(
        rb"/v1/dev/([0-9A-Fa-f]{12})(?:/|\Z)",
        rb"(?i)\"(?:device|did|id|ref)\\?\"\s*:\s*\\?\"([0-9a-f]{12})\\?\"",
    ),
    plain=frozenset(
        {
            "__type",
            "Animation",
            "ButtonState",
            "ChallengeName",
            "DeviceType",
            "ERate",
            "Format",
            "HeaterType",
            "InstalledVersion",
            "MaxCurrent",
            "Model",
            "OEMBrand",
            "SetupRequired",
            "TokenType",
            "allowedVersion",
            "deviceType",
            "installedVersion",
            "remoteModelNumber",
            "temperatureUnit",
        }
    ),
)
