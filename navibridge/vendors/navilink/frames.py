"""Payloads of the NaviLink cloud, taken apart: bytes in, one `Frame` of named raw fields out.

Nothing has to be known beforehand of what arrives; `parse` tells the forms apart (`docs/protocol/navilink.md` 13.2):

    {...                     JSON: the envelope of sections 4.1 and 5.1, a gas unit's (12), or a flat object of fields
    01|02|04 00 00 ..        the binary frame (`docs/protocol/navilink-binary.md`), see `packed`
    07 99 00 a6 37 00 ..     a recorded TCP request, see `tcp`
    byte 9 in 1..6           a recorded TCP answer, told by its length, see `tcp`

Whatever the bytes, `parse` returns a frame or raises `FrameError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import orjson

from navibridge.errors import FrameError, counted
from navibridge.model import Raw
from navibridge.vendors.navilink import packed, schedules, tcp
from navibridge.vendors.navilink.codes import (
    CONTROL_CLASS,
    HEAT_PUMP_TYPE,
    NOTICE_CLASS,
    Query,
)

Fields: TypeAlias = Mapping[str, Raw]

MAX_SIZE: Final = 128 * 1024
"""AWS IoT carries no larger payload, so a larger one is no message of this service."""

ENVELOPE: Final = frozenset(
    {
        "protocolVersion",
        "clientID",
        "sessionID",
        "requestTopic",
        "responseTopic",
        "deviceType",
        "macAddress",
        "additionalValue",
        "swVersion",
        "wifiRssi",
        "countryCode",
    }
)
"""What an answer carries besides its body."""

MAX_DEPTH: Final = 64
"""How deeply a message may be nested; the service's own go to nine."""

_SPECIAL_NAMES: Final = {
    "dhw_temperature_2": "dhwTemperature2",
    "dhw_charge_percent": "dhwChargePer",
    "tank_upper_temp": "tankUpperTemperature",
    "tank_lower_temp": "tankLowerTemperature",
}
_FLAT_MARKS: Final = frozenset({"dhwTemperature", "dhwChargePer", "operationMode", "dhwOperationSetting"})
"""A flat object with one of these is a status without an envelope."""

_FLAT_ENVELOPE: Final = ("macAddress", "deviceType", "additionalValue", "deviceId", "timestamp")
"""What such an object may carry besides."""

_BLANKS: Final = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class Frame:
    """One payload: its form, and its fields under the vendor's own names.

    Attributes:
        form: ``status``, ``feature``, ``packed``, ``control_fail``, ``reservations``, ``tou``,
            ``recirculation_schedule``, ``energy``, ``firmware``, ``trend``, ``acknowledgement`` (an envelope without
            a body), ``request``, ``connection``, ``gas_channel_info``, ``gas_channel_status``, ``gas_schedule``,
            ``gas_control_fail``, ``tcp_channel_info``, ``tcp_state``, ``tcp_trend_sample``, ``tcp_trend_month``,
            ``tcp_trend_year``, ``tcp_error``, ``tcp_request``.
        fields: raw fields; schedules are lists of entries, whatever form they travelled in.
        device_id: MAC address in lower case (the gateway's id in a TCP frame), ``None`` where the frame names none.
        command: the code that caused the frame, ``None`` where it names none.
        session_id: echoed from the request; the correlation of an answer.
        client_id: echoed from the request.
        device_type: as the envelope says, ``None`` where it does not.
        request_topic: what the envelope says of the topic of the request.
        reply_topic: where a request wants its answer.
        channel: of a gas unit's gateway.
        also: the further channels of the same message, each as a frame.
    """

    form: str
    fields: Fields
    device_id: str | None = None
    command: int | None = None
    session_id: str | None = None
    client_id: str | None = None
    device_type: int | None = None
    request_topic: str = ""
    reply_topic: str = ""
    channel: int | None = None
    also: tuple[Frame, ...] = ()


def parse(payload: bytes, device_id: str | None = None, *, topic: str = "") -> Frame:
    """Take one payload apart.

    Args:
        payload: the bytes, as they came.
        device_id: the MAC address that the topic names, if it does.
        topic: where the payload came from; only tells apart schedules, which look alike.

    Raises:
        FrameError: nothing of this service, or of another device than the topic's.
    """
    if len(payload) > MAX_SIZE:
        raise FrameError(f"a payload of {len(payload)} bytes is more than AWS IoT carries", sort="too_large")
    device_id = device_id.lower() if device_id else None
    # A gateway's id may begin with the byte of a brace; but no JSON has a control character where a TCP type stands.
    if tcp.is_response(payload) or tcp.is_request(payload):
        return _parse_tcp(payload, device_id)
    if is_json(payload):
        return _parse_object(_load(payload), device_id, topic)
    if packed.is_header(payload):
        return _parse_binary(payload, device_id, topic)
    raise FrameError(
        f"{counted(len(payload), 'byte')} of no known form, starting {payload[:16].hex()}", sort="unknown_form"
    )


def is_json(payload: bytes) -> bool:
    """Whether the first byte that is not blank opens a JSON object or list."""
    return payload[:1] == b"{" or payload.lstrip(_BLANKS)[:1] in (b"{", b"[")


def _load(payload: bytes) -> dict[str, Any]:
    try:
        message = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        # The text of the error quotes nothing of the payload but its place, so it may be logged.
        raise FrameError(f"not JSON: {error}", sort="json") from error
    if not isinstance(message, dict):
        raise FrameError(f"a JSON {type(message).__name__} where an object belongs", sort="not_an_object")
    if payload.count(b"{") + payload.count(b"[") > MAX_DEPTH:
        _check_depth(message)
    return message


def _check_depth(message: dict[str, Any]) -> None:
    """Refuse what could exhaust the stack of whoever walks through the fields later."""
    level: list[Any] = [message]
    for _ in range(MAX_DEPTH):
        children = (child for item in level for child in (item.values() if isinstance(item, dict) else item))
        level = [child for child in children if isinstance(child, dict | list)]
        if not level:
            return
    raise FrameError(f"JSON nested deeper than {MAX_DEPTH} levels", sort="too_deep")


# --- binary -----------------------------------------------------------------------------------------------------------


def _parse_binary(payload: bytes, device_id: str | None, topic: str) -> Frame:
    """A frame with the eight-byte header: a poll, JSON, or a packed record."""
    command, _ = packed.decode_header(payload, device_id)
    body = payload[packed.HEADER.size :]
    if not body:
        return Frame("request", {"command": command}, device_id, command)
    if is_json(body):
        frame = _parse_object(_load(body), device_id, topic)
        return frame if frame.command is not None else replace(frame, command=command)
    if command != Query.STATUS and command >> 24 not in (CONTROL_CLASS, NOTICE_CLASS):
        raise FrameError(f"command 0x{command:08x} carries no packed record", sort="unknown_command")
    return Frame("packed", packed.decode(body), device_id, command)


def _parse_tcp(payload: bytes, device_id: str | None) -> Frame:
    """A recorded frame of the TCP service; records of channels in use become frames of their own."""
    fields = tcp.decode(payload)
    gateway = str(fields["deviceID"])
    if device_id is not None and device_id != gateway:
        raise FrameError("a recorded frame of another gateway", sort="wrong_device")
    if tcp.is_request(payload):
        return Frame(tcp.REQUEST_FORM, fields, gateway)
    form = tcp.FORMS[payload[9]]
    if form != "tcp_channel_info":
        channel = fields.get("currentChannel")
        return Frame(form, fields, gateway, channel=channel if isinstance(channel, int) else None)
    shared = {name: raw for name, raw in fields.items() if not name.startswith("channels[")}
    frames = []
    for index in range(tcp.CHANNELS):
        start = f"channels[{index}]."
        record = {name.removeprefix(start): raw for name, raw in fields.items() if name.startswith(start)}
        if record["deviceSorting"]:
            frames.append(Frame(form, {**shared, **record}, gateway, channel=int(record["channel"])))
    return _joined(frames) or Frame(form, shared, gateway)


def _joined(frames: list[Frame]) -> Frame | None:
    """The first frame, the others in its `Frame.also`."""
    return replace(frames[0], also=tuple(frames[1:])) if frames else None


# --- JSON -------------------------------------------------------------------------------------------------------------


def _parse_object(message: dict[str, Any], device_id: str | None, topic: str) -> Frame:
    response = message.get("response")
    if response is None:
        return _parse_bare(message, device_id, topic)
    if type(response) is not dict:
        raise _wrong_type("response", response)
    return _parse_body(message, response, device_id, topic)


def _parse_bare(message: dict[str, Any], device_id: str | None, topic: str) -> Frame:
    """A message without ``response``: a request, an event, a body at top level, or fields without any envelope."""
    request = message.get("request")
    if request is not None:
        body = _object("request", request)
        return _enveloped("request", body, message, body, device_id)
    event = message.get("event")
    if event is not None:
        body = _object("event", event)
        connection = _object("connection", body.get("connection", {}))
        return _enveloped("connection", connection, message, body, device_id)
    if "clientID" in message and "timestamp" in message:
        return _enveloped("connection", {"timestamp": message["timestamp"]}, message, {}, device_id)
    if all(message.get(name) is None for name, _ in _BODIES):
        message = _wire_names(message, _FLAT_MARKS)
        if not _FLAT_MARKS.isdisjoint(message):
            fields = {name: raw for name, raw in message.items() if name not in _FLAT_ENVELOPE}
            return _enveloped("status", fields, {}, message, device_id)
        raise FrameError("a JSON object of no known form", sort="unknown_object")
    return _parse_body(message, message, device_id, topic)


def _parse_body(message: dict[str, Any], response: dict[str, Any], device_id: str | None, topic: str) -> Frame:
    """An answer; the object it carries says what it is, and where it has none, the keys do."""
    for name, reader in _BODIES:
        body = response.get(name)
        if body is not None:
            return reader(name, body, message, response, device_id)
    for name in _TOP_LEVEL_BODIES:
        if message.get(name) is not None:
            return _READERS[name](name, message[name], message, response, device_id)
    if "reservation" in response or "reservationUse" in response or "schedule" in response:
        return _parse_schedule(message, response, device_id, topic)
    if "usage" in response or "typeOfUsage" in response:
        return _enveloped("energy", _without_envelope(response), message, response, device_id)
    if "failCode" in response:
        form = "control_fail" if _device_type(message, response) == HEAT_PUMP_TYPE else "gas_control_fail"
        return _enveloped(form, {"failCode": response["failCode"]}, message, response, device_id)
    return _enveloped("acknowledgement", _without_envelope(response), message, response, device_id)


_Reader: TypeAlias = Callable[[str, Any, dict[str, Any], dict[str, Any], "str | None"], Frame]


def _read_status(
    name: str, body: Any, message: dict[str, Any], response: dict[str, Any], device_id: str | None
) -> Frame:
    if type(body) is not dict:
        raise _wrong_type(name, body)
    return _enveloped("status", _wire_names(body, _FLAT_MARKS), message, response, device_id)


def _read_feature(
    name: str, body: Any, message: dict[str, Any], response: dict[str, Any], device_id: str | None
) -> Frame:
    fields = _wire_names(_object(name, body), frozenset({"countryCode", "controllerSerialNumber"}))
    return _enveloped("feature", fields, message, response, device_id)


def _read_firmware(
    name: str, body: Any, message: dict[str, Any], response: dict[str, Any], device_id: str | None
) -> Frame:
    return _enveloped("firmware", {name: schedules.from_list(body)}, message, response, device_id)


def _read_trend(
    name: str, body: Any, message: dict[str, Any], response: dict[str, Any], device_id: str | None
) -> Frame:
    """Trend counters, the three groups of them side by side."""
    fields: dict[str, Raw] = {}
    for group, counters in _object(name, body).items():
        fields.update(_object(group, counters) if isinstance(counters, dict) else {group: counters})
    return _enveloped("trend", fields, message, response, device_id)


def _read_channel_info(
    name: str, body: Any, message: dict[str, Any], response: dict[str, Any], device_id: str | None
) -> Frame:
    """The channels of a gas unit's gateway; one that is not in use has unit type 0."""
    channels = _object(name, body).get("channelList") or []
    if not isinstance(channels, list):
        raise _wrong_type("channelList", channels)
    frames = []
    for item in channels:
        entry = _object("channelList", item)
        fields = _object("channel", entry.get("channel") or {})
        if fields.get("unitType"):
            frame = _enveloped("gas_channel_info", fields, message, response, device_id)
            frames.append(replace(frame, channel=_integer("channelNumber", entry.get("channelNumber"))))
    return _joined(frames) or _enveloped("gas_channel_info", {}, message, response, device_id)


_SUMMED: Final = frozenset(
    {
        "gasInstantUsage",
        "accumulatedGasUsage",
        "accumulatedWaterUsage",
        "DHWFlowRate",
        "numOfWaterUse",
        "numOfShortWaterUse",
    }
)
"""What several units of one channel contribute to; of everything else the first unit speaks for the channel."""


def _read_channel_status(
    name: str, body: Any, message: dict[str, Any], response: dict[str, Any], device_id: str | None
) -> Frame:
    """A channel's status; its units' fields are merged into it."""
    status = _object(name, body)
    channel = dict(_object("channel", status.get("channel") or {}))
    info = _object("unitInfo", channel.pop("unitInfo", None) or {})
    units = info.get("unitStatusList") or []
    if not isinstance(units, list):
        raise _wrong_type("unitStatusList", units)
    merged = _merge_units([_object("unitStatusList", unit) for unit in units])
    fields = {**merged, **channel}  # a channel's own word goes before its units'
    fields |= {key: response[key] for key in ("swVersion", "wifiRssi") if key in response}
    frame = _enveloped("gas_channel_status", fields, message, response, device_id)
    return replace(frame, channel=_integer("channelNumber", status.get("channelNumber")))


def _merge_units(units: list[dict[str, Any]]) -> dict[str, Raw]:
    merged: dict[str, Raw] = {}
    for unit in units:
        faulty = type(unit.get("errorCode")) is int and unit["errorCode"] != 0
        for name, raw in unit.items():
            known = merged.get(name)
            if name in _SUMMED and type(known) is int and type(raw) is int:
                merged[name] = known + raw
            elif name not in merged or (faulty and not known and name in ("errorCode", "subErrorCode")):
                merged[name] = raw
    merged.pop("unitNumber", None)
    return merged


def _read_gas_schedule(
    name: str, body: Any, message: dict[str, Any], response: dict[str, Any], device_id: str | None
) -> Frame:
    schedule = _object(name, body)
    fields = _object("channel", schedule.get("channel") or {})
    frame = _enveloped("gas_schedule", fields, message, response, device_id)
    return replace(frame, channel=_integer("channelNumber", schedule.get("channelNumber")))


_READERS: Final[Mapping[str, _Reader]] = {
    "status": _read_status,
    "st": _read_status,
    "feature": _read_feature,
    "did": _read_feature,
    "channelStatus": _read_channel_status,
    "channelInfo": _read_channel_info,
    "weeklySchedule": _read_gas_schedule,
    "downloadSwInfo": _read_firmware,
    "data": _read_trend,
}
_BODIES: Final = tuple(_READERS.items())
_TOP_LEVEL_BODIES: Final = ("status", "st", "feature", "did")


def _parse_schedule(message: dict[str, Any], response: dict[str, Any], device_id: str | None, topic: str) -> Frame:
    """Reservations, a time-of-use plan or a recirculation schedule: told by the entries, then by the topic."""
    fields: dict[str, Raw] = {}
    if "reservationUse" in response:
        fields["reservationUse"] = response["reservationUse"]
    topics = f"{topic} {message.get('requestTopic', '')}"
    listed = response.get("reservation")
    if "schedule" in response:
        form, fields["reservation"] = "recirculation_schedule", schedules.from_list(response["schedule"])
    elif isinstance(listed, str):
        form = "recirculation_schedule" if "recirc" in topics else "reservations"
        fields["reservation"], rest = schedules.from_hex(listed)
        if rest:
            fields["incompleteReservation"] = rest  # no row reads it: it is reported as unknown
    else:
        entries = schedules.from_tou_list(listed)
        if any("season" in entry for entry in entries) or (not entries and "/tou/" in topics):
            form, fields["reservation"] = "tou", entries
        else:
            form = "recirculation_schedule" if "recirc" in topics else "reservations"
            fields["reservation"] = schedules.from_list(listed)
    return _enveloped(form, fields, message, response, device_id)


def _enveloped(
    form: str, fields: Fields, message: dict[str, Any], inner: dict[str, Any], device_id: str | None
) -> Frame:
    """A frame with what the envelope says; ``inner`` is the object that names the device."""
    mac = inner.get("macAddress")
    if mac is not None:
        if type(mac) is not str:
            raise _wrong_type("macAddress", mac)
        mac = mac.lower().replace(":", "")
        if device_id is not None and mac != device_id:
            raise FrameError("an answer of another device than its topic says", sort="wrong_device")
    command = fields.get("command")
    if command is None:
        command = inner.get("command")
    if command is not None and type(command) is not int:
        raise _wrong_type("command", command)
    return Frame(
        form=form,
        fields=fields,
        device_id=mac or device_id,
        command=command,
        session_id=_text("sessionID", message),
        client_id=_text("clientID", message),
        device_type=_device_type(message, inner),
        request_topic=_text("requestTopic", message) or "",
        reply_topic=_text("responseTopic", message) or "",
    )


def _device_type(message: dict[str, Any], inner: dict[str, Any]) -> int | None:
    given = inner.get("deviceType")
    if given is None and message.get("protocolVersion") == 2:  # noqa: PLR2004 - only heat pumps speak version 2
        return HEAT_PUMP_TYPE
    if given is not None and type(given) is not int:
        raise _wrong_type("deviceType", given)
    return given


def _text(name: str, message: dict[str, Any]) -> str | None:
    value = message.get(name)
    if value is None or type(value) is str:
        return value
    if type(value) is int:
        return str(value)
    raise _wrong_type(name, value)


def _integer(name: str, value: Any) -> int | None:
    if value is not None and type(value) is not int:
        raise _wrong_type(name, value)
    return value


def _object(name: str, value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise _wrong_type(name, value)
    return value


def _wrong_type(name: str, value: Any) -> FrameError:
    return FrameError(f"{name} is a {type(value).__name__}", sort="wrong_type")


def _without_envelope(response: dict[str, Any]) -> dict[str, Raw]:
    return {name: raw for name, raw in response.items() if name not in ENVELOPE}


def _wire_names(fields: dict[str, Any], marks: frozenset[str]) -> dict[str, Any]:
    """The fields under the names of the wire; the founding description writes them in snake_case.

    A dictionary that has one of the wire's own names is left as it is: nobody mixes the two.
    """
    if not marks.isdisjoint(fields) or not any("_" in name for name in fields):
        return fields
    renamed = {wire_name(name): raw for name, raw in fields.items()}
    if "dhwTemperatureSetting" in renamed:
        # That description knows one setpoint; the wire repeats it, and the repetition is the one we read.
        renamed.setdefault("dhwTargetTemperatureSetting", renamed["dhwTemperatureSetting"])
    return renamed


def wire_name(name: str) -> str:
    """The wire's name for a field that the founding description writes in snake_case."""
    special = _SPECIAL_NAMES.get(name)
    if special is not None:
        return special
    first, *others = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in others)
