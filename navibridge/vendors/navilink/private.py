"""What is private in NaviLink's messages, for captures (`docs/protocol/navilink.md` 1.3, 1.5, 3 and 4.1)."""

from __future__ import annotations

from typing import Final

from navibridge.capture import Private

PRIVATE: Final = Private(
    names=frozenset(
        {
            "macAddress",
            "deviceID",
            "deviceName",
            "additionalValue",
            "controllerSerialNumber",
            "serialNumber",
            "homeSeq",
            "userSeq",
            "userId",
            "location",
            "address",
            "installer",
        }
    ),
    patterns=(
        rb"navilink-([0-9A-Fa-f]{12})",
        rb"cmd\\?/\d+\\?/(\d+)\\?/(\d+)\\?/",  # the app's reply topics: home and user
        rb"navibridge-(\d+)-([0-9a-f]{8})",  # our client id: user and installation
        rb"\A[\x01\x02\x04]\x00\x00.(?!navi)([0-9A-Za-z]{1,4})",  # a binary header: how the MAC address begins
    ),
    plain=frozenset({"msg", "authenticationExpiresIn", "authorizationExpiresIn", "userType", "installType"}),
)
