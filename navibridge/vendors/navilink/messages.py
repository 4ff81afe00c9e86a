"""What is sent: every request and control of a client, and every answer of a device, as topic and bytes.

`frames` is the way back. Topics are those of `docs/protocol/navilink.md` 3 (heat pumps) and 12.1 (gas units); the
envelope is that of 4.1 and 5.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import orjson

from navibridge.vendors.navilink.codes import (
    HEAT_PUMP_TYPE,
    RESERVATIONS_WRITE,
    Command,
    GasCommand,
    GasQuery,
    Query,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DISCONNECT_EVENT: Final = "evt/+/mobile/event/disconnect-mqtt"
"""The broadcast of server maintenance, and of a device whose own session dropped."""


class _Path(NamedTuple):
    """Where a question goes and where its answer comes, below the device's and the reply's stem."""

    request: str
    reply: str


_STATUS = _Path("st", "")
_CONTROL = _Path("ctrl", "")
_PATHS: Final = {
    Query.FEATURE: _Path("st/did", "did"),
    Query.END: _Path("st/end", "end"),
    Query.STATUS: _STATUS,
    Query.RESERVATIONS: _Path("st/rsv/rd", "rsv/rd"),
    Query.ENERGY_DAILY: _Path("st/energy-usage-daily-query/rd", "energy-usage-daily-query/rd"),
    Query.ENERGY_MONTHLY: _Path("st/energy-usage-monthly-query/rd", "energy-usage-monthly-query/rd"),
    Query.FIRMWARE: _Path("st/dl-sw-info", "dl-sw-info"),
    Query.TREND: _Path("st/td/rd", "td/rd"),
    Query.RECIRCULATION_SCHEDULE: _Path("st/recirc-rsv/rd", "recirc-rsv/rd"),
}
_RESERVATIONS_WRITE: Final = _Path("ctrl/rsv/rd", "rsv/rd")
_TOU: Final = _Path("ctrl/tou/rd", "tou/rd")
_RECIRCULATION_WRITE: Final = _Path("ctrl/recirc-rsv/rd", "recirc-rsv/rd")
_GAS_PATHS: Final = {
    GasQuery.START: _Path("status/start", "channelinfo"),
    GasQuery.END: _Path("status/end", "end"),
    GasQuery.CHANNEL_INFO: _Path("status/channelinfo", "channelinfo"),
    GasQuery.CHANNEL_STATUS: _Path("status/channelstatus", "channelstatus"),
    GasQuery.WEEKLY_SCHEDULE: _Path("status/weeklyschedule", "weeklyschedule"),
}
_GAS_CONTROL: Final = _Path("control", "channelstatus")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a device is asked, by whom, and where its answers go.

    Attributes:
        mac: the device's MAC address as listed, twelve hex digits.
        additional_value: the opaque number that every request echoes.
        client_id: of this session; part of the reply topics.
        device_type: 52, or a gas unit's.
        home_seq: of the device list; part of the app's reply topics.
        user_seq: of the sign-in; part of the app's reply topics.
        family: which of the two families of reply topics is asked for (`docs/protocol/navilink.md` 3.2).
    """

    mac: str
    additional_value: str
    client_id: str
    device_type: int = HEAT_PUMP_TYPE
    home_seq: int | str = 0
    user_seq: int | str = 0
    family: Literal["app", "library"] = "app"

    @property
    def stem(self) -> str:
        """The start of every topic of the device's own."""
        return f"cmd/{self.device_type}/navilink-{self.mac}"

    @property
    def event_stem(self) -> str:
        """The start of the device's event topics."""
        return f"evt/{self.device_type}/navilink-{self.mac}"

    def reply(self, path: str = "") -> str:
        """The reply topic of that path, in the family chosen."""
        if self.family == "app" or self.device_type != HEAT_PUMP_TYPE:
            start = f"cmd/{self.device_type}/{self.home_seq}/{self.user_seq}/{self.client_id}/res"
        elif path.endswith("/rd"):
            start = f"cmd/{self.device_type}/{self.client_id}/res"
        else:
            return f"{self.stem}/{self.client_id}/res"
        return f"{start}/{path}" if path else start


@dataclass(frozen=True, slots=True)
class Message:
    """A request ready to be published.

    Attributes:
        topic: where to.
        payload: the JSON envelope.
        command: its code.
        session_id: what the answer echoes.
        reply_topic: where the answer comes.
    """

    topic: str
    payload: bytes
    command: int
    session_id: str
    reply_topic: str


def query(address: Address, command: Query, session_id: str, **parameters: Any) -> Message:
    """A question to a heat pump; the energy queries take ``year`` and ``month`` (`docs/protocol/navilink.md` 4.3)."""
    return _request(address, _PATHS[command], command, session_id, parameters)


def control(address: Address, command: int, mode: str, param: Sequence[int], session_id: str) -> Message:
    """A simple control of a heat pump (`docs/protocol/navilink.md` 4.4)."""
    body = {"mode": mode, "param": list(param), "paramStr": ""}
    return _request(address, _CONTROL, command, session_id, body)


def write_reservations(address: Address, use: int, entries: Sequence[Mapping[str, int]], session_id: str) -> Message:
    """Replace the whole list of timed reservations; ``use`` is 2 on, 1 off (`docs/protocol/navilink.md` 10.2)."""
    body = {"reservationUse": use, "reservation": [dict(entry) for entry in entries]}
    return _request(address, _RESERVATIONS_WRITE, RESERVATIONS_WRITE, session_id, body)


def write_tou(
    address: Address, serial: str, use: int, entries: Sequence[Mapping[str, int]], session_id: str
) -> Message:
    """Replace the time-of-use plan (`docs/protocol/navilink.md` 10.3)."""
    body = {
        "controllerSerialNumber": serial,
        "reservationUse": use,
        "reservation": [dict(entry) for entry in entries],
    }
    return _request(address, _TOU, Command.TOU_WRITE, session_id, body)


def read_tou(address: Address, serial: str, session_id: str) -> Message:
    """Ask for the time-of-use plan; not every unit answers (`docs/protocol/navilink.md` 10.3)."""
    return _request(address, _TOU, Command.TOU_WRITE, session_id, {"controllerSerialNumber": serial})


def write_recirculation(address: Address, use: int, entries: Sequence[Mapping[str, int]], session_id: str) -> Message:
    """Replace the recirculation schedule, in the app's form (`docs/protocol/navilink.md` 10.4)."""
    body = {"reservationUse": use, "reservation": [dict(entry) for entry in entries]}
    return _request(address, _RECIRCULATION_WRITE, Command.RECIRCULATION_WRITE, session_id, body)


def gas_query(
    address: Address, command: GasQuery, session_id: str, *, channel: int | None = None, units: int | None = None
) -> Message:
    """A question to a gas unit; those of one channel name it, the poll also its units (12.3)."""
    body: dict[str, Any] = {}
    if channel is not None:
        body["status"] = {"channelNumber": channel}
        if units is not None:
            body["status"] |= {"unitNumberStart": 1, "unitNumberEnd": max(units, 1)}
    return _request(address, _GAS_PATHS[command], command, session_id, body)


def gas_control(
    address: Address, command: int, mode: str, param: Sequence[int], session_id: str, *, channel: int = 1
) -> Message:
    """A control of one channel of a gas unit (`docs/protocol/navilink.md` 12.3)."""
    body = {"control": {"channelNumber": channel, "mode": mode, "param": list(param)}}
    return _request(address, _GAS_CONTROL, GasCommand(command), session_id, body)


def _request(address: Address, path: _Path, command: int, session_id: str, body: Mapping[str, Any]) -> Message:
    topic = f"{address.stem}/{path.request}"
    reply_topic = address.reply(path.reply)
    envelope = {
        "clientID": address.client_id,
        "sessionID": session_id,
        "protocolVersion": 2 if address.device_type == HEAT_PUMP_TYPE else 1,
        "request": {
            "command": int(command),
            "deviceType": address.device_type,
            "macAddress": address.mac,
            "additionalValue": address.additional_value,
            **body,
        },
        "requestTopic": topic,
        "responseTopic": reply_topic,
    }
    return Message(topic, orjson.dumps(envelope), int(command), session_id, reply_topic)


def filters(address: Address) -> tuple[str, ...]:
    """Every topic filter a session needs for a device, without doubles (`docs/protocol/navilink.md` 3.4 and 12.1)."""
    events = (f"{address.event_stem}/connection", DISCONNECT_EVENT)
    if address.device_type != HEAT_PUMP_TYPE:
        own = (f"{address.stem}/res/#", f"{address.stem}/connection")
        replies = tuple(address.reply(path.reply) for path in _GAS_PATHS.values())
        return tuple(dict.fromkeys((*own, *replies, *events)))
    paths = (*_PATHS.values(), _RESERVATIONS_WRITE, _TOU, _RECIRCULATION_WRITE)
    # In the library's family some replies come below the device's own stem, where the wildcard has them already.
    replies = tuple(topic for topic in (address.reply(p.reply) for p in paths) if not topic.startswith(address.stem))
    own = (f"{address.stem}/#", f"{address.event_stem}/app-connection")
    return tuple(dict.fromkeys((*own, *replies, *events)))


def will(address: Address, session_id: str) -> tuple[str, bytes]:
    """Topic and payload of the last will that says this client is gone (`docs/protocol/navilink.md` 4.5)."""
    topic = f"{address.event_stem}/app-connection"
    return topic, connection_event(address, session_id, {"os": "A", "status": 0})


def connection_event(address: Address, session_id: str, connection: Mapping[str, Any]) -> bytes:
    """An event that says a client or a device came or went; status 0 is gone (`docs/protocol/navilink.md` 4.5)."""
    return orjson.dumps(
        {
            "clientID": address.client_id,
            "event": {
                "additionalValue": address.additional_value,
                "connection": dict(connection),
                "deviceType": address.device_type,
                "macAddress": address.mac,
            },
            "protocolVersion": 1,
            "requestTopic": f"{address.event_stem}/app-connection",
            "sessionID": session_id,
        }
    )


def answer(
    mac: str,
    additional_value: str,
    body: Mapping[str, Any],
    *,
    device_type: int = HEAT_PUMP_TYPE,
    client_id: str = "",
    session_id: str = "0",
    request_topic: str = "",
) -> bytes:
    """What a device answers or reports (`docs/protocol/navilink.md` 5 and 12.4).

    Args:
        mac: the device's MAC address.
        additional_value: the device's opaque number.
        body: what stands in ``response`` besides the device's identity, such as ``{"status": {...}}``,
            ``{"reservationUse": 2, "reservation": "..."}`` or ``{"failCode": 2, "swVersion": 0}``.
        device_type: 52, or a gas unit's.
        client_id: echoed from the request.
        session_id: echoed from the request; one rolling digit in a report.
        request_topic: the topic the request came in on; of a report, the one of a status query.
    """
    identity = {"deviceType": device_type, "macAddress": mac, "additionalValue": additional_value}
    return orjson.dumps(
        {
            "protocolVersion": 2 if device_type == HEAT_PUMP_TYPE else 1,
            "clientID": client_id,
            "sessionID": session_id,
            "requestTopic": request_topic or f"cmd/{device_type}/navilink-{mac}/st",
            "response": {**identity, **body},
        }
    )
