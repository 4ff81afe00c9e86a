"""Messages of the Mysa cloud, taken apart and put together (`docs/protocol/mysa.md` 4).

Two envelopes carry the messages: the legacy one, flat with ``MsgType``, and the new one, with ``msg`` and a ``body``.
The same number means different things in the two, so a message is known by envelope and number. `parse` returns a
`Frame` or raises `FrameError`, whatever the bytes are.

What is sent goes through `Outgoing`, which can not be made of anything but the four messages that are known to do no
harm; two of the others send a thermostat off its Wi-Fi for good (`docs/protocol/mysa.md` 4.13).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

import orjson

from navibridge.errors import CommandError, FrameError
from navibridge.model import Raw
from navibridge.vendors.mysa import codecs

Fields: TypeAlias = Mapping[str, Raw]
Envelope: TypeAlias = Literal["legacy", "new", "rest"]

MAX_SIZE: Final = 128 * 1024
"""AWS IoT carries no larger payload, so a larger one is no message of this service."""

MAX_DEPTH: Final = 16
"""How deeply a message may be nested; the service's own go to five."""

MILLISECONDS_FROM: Final = 1e11
"""A time above this counts milliseconds (`docs/protocol/mysa.md` 2.4)."""

HIDDEN: Final = "(hidden)"

LEGACY_FORMS: Final[Mapping[int, str]] = {
    0: "status_v1",
    1: "setpoint_change",
    4: "log",
    5: "echo_reply",
    6: "request",
    7: "request",
    10: "post_boot",
    11: "request",
    20: "request",
}
NEW_FORMS: Final[Mapping[int, str]] = {
    3: "batch",
    4: "log",
    10: "post_boot",
    16: "infloor_power",
    17: "status_infloor",
    30: "status_ac",
    31: "ac_state",
    34: "request",
    40: "status_v2",
    44: "result",
    61: "boot_firmware",
}
"""Number to form, per envelope; every other number is of the form ``unknown`` (`docs/protocol/mysa.md` 4.2)."""

BOOT_FORMS: Final = frozenset({"post_boot", "boot_firmware"})
"""The forms after which a device has to be asked anew to publish."""

CHECK_SETTINGS, DUMP_READINGS, START_PUBLISHING, COMMAND = 6, 7, 11, 44

_FROM_DEVICE: Final = 1
_BLANKS: Final = b" \t\r\n"
_LEGACY_ENVELOPE: Final = frozenset({"MsgType", "Device", "device", "Timestamp", "timestamp"})
_IN_FLOOR_MARKS: Final = frozenset({"flrSnsrTemp", "heatStat", "trackedSnsr"})
_BESIDE_BODY: Final = ("heatStat", "lineVtg")
_ID: Final = re.compile(r"[0-9a-f]{12}")
_TOPIC: Final = re.compile(r"/?v1/dev/([^/]+)/(in|out|batch)")
_ADDRESS: Final = re.compile(r"(Local IP\s*:\s*)[0-9A-Fa-f.:]+")
_SERIAL: Final = re.compile(r"Serial\s*:\s*([0-9A-Za-z-]{1,64})")
_VERSION: Final = re.compile(r"\bversion\s+(\d+(?:\.\d+){1,5})")
_ENVELOPE_VERSION: Final = "1.0"
_TRIGGERS: Final = ("success", "trig_src", "type")


@dataclass(frozen=True, slots=True)
class Frame:
    """One message, or one object of the REST service: its form, and its fields under the vendor's own names.

    Attributes:
        form: of `LEGACY_FORMS`, `NEW_FORMS`, ``unknown``, ``rest_state``, ``rest_device``, ``rest_firmware`` or
            ``rest_update``.
        fields: raw fields of the body. ``result``: those of ``body.state`` and ``success``, ``trig_src``, ``type``.
            ``batch``: ``readings`` as bytes. ``request``: of a command those of its ``cmd`` and ``type``.
        device_id: twelve hex digits in lower case, ``None`` where the message names no device.
        number: ``MsgType`` or ``msg``; -1 for an object of the REST service.
        envelope: which of the two, or ``rest``.
        sent_id: the message's own id, exact.
        resp_id: the id of the command that it answers.
        at: when it was sent by the device's clock, epoch seconds; ``None`` where it does not say.
        times: when each field was observed, where fields say so, epoch seconds.
    """

    form: str
    fields: Fields
    device_id: str | None
    number: int
    envelope: Envelope
    sent_id: int | None = None
    resp_id: int | None = None
    at: float | None = None
    times: Mapping[str, float] = field(default_factory=dict)


# --- topics -----------------------------------------------------------------------------------------------------------


def topic_in(device_id: str) -> str:
    """Where a device is told something; the leading slash belongs to it."""
    return f"/v1/dev/{device_id}/in"


def topic_out(device_id: str) -> str:
    """Where a device reports."""
    return f"/v1/dev/{device_id}/out"


def topic_batch(device_id: str) -> str:
    """Where a device sends its binary readings."""
    return f"/v1/dev/{device_id}/batch"


def device_of(topic: str) -> str | None:
    """The device that a topic names."""
    match = _TOPIC.fullmatch(topic)
    return normal_id(match[1]) if match else None


def normal_id(given: object) -> str | None:
    """A device's id as it is used here: some firmware writes it in upper case or with colons."""
    if not isinstance(given, str) or not given:
        return None
    return given.strip().lower().replace(":", "").replace("-", "")


# --- in ---------------------------------------------------------------------------------------------------------------


def parse(payload: bytes, topic: str = "") -> Frame:
    """Take one payload apart.

    Args:
        payload: the bytes, as they came.
        topic: where they came from; the device that it names counts, and a payload of another one is refused.

    Raises:
        FrameError: nothing of this service, or of another device than the topic's.
    """
    message = load(payload)
    match = _TOPIC.fullmatch(topic)
    expected, leaf = (normal_id(match[1]), match[2]) if match else (None, "")
    frame = _parse_message(message, leaf)
    if expected is None:
        return frame
    if frame.device_id not in (None, expected):
        raise FrameError("a message of another device than the topic's", sort="wrong_device")
    return frame if frame.device_id else replace(frame, device_id=expected)


def load(payload: bytes) -> dict[str, Any]:
    """The JSON object in a payload, read leniently: raw control characters occur inside its texts.

    Raises:
        FrameError: no JSON object, or one that is cut off.
    """
    if len(payload) > MAX_SIZE:
        raise FrameError(f"a payload of {len(payload)} bytes is more than AWS IoT carries", sort="too_large")
    message = _loaded(payload)
    if not isinstance(message, dict):
        raise FrameError(f"a JSON {type(message).__name__} where an object belongs", sort="not_an_object")
    if payload.count(b"{") + payload.count(b"[") > MAX_DEPTH:
        _check_depth(message)
    return message


def _loaded(payload: bytes) -> Any:
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        return _loaded_leniently(payload)


def _loaded_leniently(payload: bytes) -> Any:
    """By the slower reader, which takes control characters inside of texts."""
    try:
        found = json.loads(payload.decode("utf-8", "replace"), strict=False, parse_constant=_refuse_constant)
        orjson.dumps(found)  # what can not be written can not be published: half a surrogate pair, 65-bit integers
    except RecursionError as error:
        raise FrameError("JSON nested too deeply", sort="too_deep") from error
    except orjson.JSONEncodeError as error:
        raise FrameError("a number or a text that no JSON document can hold", sort="json") from error
    except ValueError as error:  # json.JSONDecodeError, an integer of thousands of digits, NaN
        raise FrameError("not JSON, or cut off", sort="json") from error
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _check_depth(message: dict[str, Any]) -> None:
    """Refuse what could exhaust the stack of whoever walks through the fields later."""
    level: list[Any] = [message]
    for _ in range(MAX_DEPTH):
        children = (child for item in level for child in (item.values() if isinstance(item, dict) else item))
        level = [child for child in children if isinstance(child, dict | list)]
        if not level:
            return
    raise FrameError(f"JSON nested deeper than {MAX_DEPTH} levels", sort="too_deep")


def _parse_message(message: dict[str, Any], leaf: str) -> Frame:
    # MsgType 0 is the status of the V1, so presence counts, not truth.
    if "MsgType" in message:
        return _parse_legacy(message, _type_number("MsgType", message["MsgType"]))
    if "msg" in message:
        return _parse_new(message, _type_number("msg", message["msg"]), leaf)
    return _parse_rest(message)


def _type_number(name: str, raw: Raw) -> int:
    found = exact(raw)
    if found is None or not 0 <= found < 2**31:
        raise FrameError(f"{name} is no number", sort="no_number")
    return found


def exact(raw: Raw) -> int | None:
    """An integer, or the text of one, without ever going through a float; ids have up to 64 bits."""
    if type(raw) is int:
        return raw
    if type(raw) is str and len(raw) <= len(str(2**64)) and raw.isascii() and raw.isdigit():
        return int(raw)
    return None


def moment(raw: Raw) -> float | None:
    """Epoch seconds from a time in seconds or milliseconds; ``None`` for 0 and other numbers that are no times."""
    if type(raw) is not int and type(raw) is not float:
        return None
    if not codecs.EARLIEST <= raw < 1000 * MILLISECONDS_FROM:  # an integer may be too large for a float
        return None
    return raw / 1000 if raw > MILLISECONDS_FROM else float(raw)


def _parse_legacy(message: dict[str, Any], number: int) -> Frame:
    form = LEGACY_FORMS.get(number, "unknown")
    fields = {name: raw for name, raw in message.items() if name not in _LEGACY_ENVELOPE}
    return Frame(
        form,
        _tidied(form, fields),
        normal_id(message.get("Device", message.get("device"))),
        number,
        "legacy",
        at=moment(message.get("Timestamp", message.get("timestamp"))),
    )


def _parse_new(message: dict[str, Any], number: int, leaf: str) -> Frame:
    source, target = _object(message.get("src")), _object(message.get("dest"))
    is_request = leaf == "in" or (not leaf and (bool(target) or source.get("type") not in (None, _FROM_DEVICE)))
    body = message.get("body")
    if not isinstance(body, dict):
        raise FrameError("a message without a body", sort="no_body")
    form = "request" if is_request else NEW_FORMS.get(number, "unknown")
    if is_request:
        fields = _request_fields(body)
    elif form == "result":
        fields = _result_fields(body)
    elif form == "batch":
        fields = {"readings": _binary(body)}
    else:
        beside: dict[str, Raw] = {name: message[name] for name in _BESIDE_BODY if name in message}
        fields = {**beside, **body}
        if form == "status_v2" and not _IN_FLOOR_MARKS.isdisjoint(fields):
            form = "status_infloor"
        elif form in BOOT_FORMS and message.get("ver") not in (None, _ENVELOPE_VERSION):
            fields.setdefault("version", message["ver"])
    return Frame(
        form,
        _tidied(form, fields),
        normal_id((target if is_request else source).get("ref")),
        number,
        "new",
        exact(message.get("id")),
        exact(message.get("resp_id")),
        moment(message.get("time", message.get("Timestamp"))),
    )


def _object(raw: Raw) -> dict[str, Any]:
    return raw if isinstance(raw, dict) else {}


def _request_fields(body: dict[str, Any]) -> dict[str, Raw]:
    """The settings of a command beside its ``type``; of any other request the body."""
    command = body.get("cmd")
    if command is None:
        return dict(body)
    if isinstance(command, str):  # the app sends it so at times
        command = _list_in(command)
    entries = command if isinstance(command, list) else [command]
    fields: dict[str, Raw] = {"type": body["type"]} if "type" in body else {}
    for entry in entries:
        fields.update(_object(entry))
    return fields


def _list_in(text: str) -> Any:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise FrameError("a command whose cmd is no JSON", sort="cmd") from error
    _check_depth({"cmd": found})
    return found


def _result_fields(body: dict[str, Any]) -> dict[str, Raw]:
    return {name: body[name] for name in _TRIGGERS if name in body} | _flat(_object(body.get("state")), "br")


def _flat(fields: Mapping[str, Raw], name: str) -> dict[str, Raw]:
    """The fields, those of an object among them under names such as ``br.a_br``."""
    inner = fields.get(name)
    if not isinstance(inner, dict):
        return dict(fields)
    rest = {key: raw for key, raw in fields.items() if key != name}
    return rest | {f"{name}.{key}": raw for key, raw in inner.items()}


def _binary(body: dict[str, Any]) -> bytes:
    text = body.get("readings")
    if not isinstance(text, str):
        raise FrameError("a batch without readings", sort="no_readings")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FrameError("readings that are no base64", sort="base64") from error


def _tidied(form: str, fields: dict[str, Raw]) -> dict[str, Raw]:
    """The fields without addresses, and with what a log line says in words."""
    fields.pop("ip", None)
    if form == "log":
        text = fields.get("Message")
        if isinstance(text, str):
            fields["Message"] = _ADDRESS.sub(rf"\g<1>{HIDDEN}", text)
            for name, pattern in (("serial", _SERIAL), ("version", _VERSION)):
                if match := pattern.search(text):
                    fields[name] = match[1]
    return fields


# --- REST -------------------------------------------------------------------------------------------------------------


_TEMPERATURES: Final = ("CorrectedTemp", "SensorTemp", "Infloor", "HeatSink")
_DISAGREE: Final = 8.0
"""Kelvin; raw readings are typically 2 to 4 above the calibrated ones (`docs/protocol/mysa.md` 8.7)."""

_AC_STATE: Final = {"2": "TstatMode", "3": "SetPoint", "4": "FanSpeed", "5": "SwingState"}
"""Key of the compact state to the field that says the same."""

_MISSING: Final = (-1, "-1")


def rest_state(state: Mapping[str, Any]) -> Frame:
    """An object of ``/devices/state``, its values unwrapped; what it marks as missing is missing (`mysa.md` 2.4)."""
    fields: dict[str, Raw] = {}
    times: dict[str, float] = {}
    newest = moment(state.get("Timestamp"))
    for name, raw in state.items():
        value, at = raw, None
        if isinstance(raw, dict) and "v" in raw:
            value, at = raw["v"], moment(raw.get("t"))
        if value is None or value in _MISSING:
            continue
        fields[name] = value
        if at is not None or newest is not None:
            times[name] = at if at is not None else newest or 0.0
    compact = fields.get("ACState")
    for key, name in _AC_STATE.items():
        if isinstance(compact, dict) and key in compact and name not in fields:
            fields[name] = compact[key]
            times |= {name: times["ACState"]} if "ACState" in times else {}
    for name in _without_measurement(fields):
        del fields[name]
    times = {name: at for name, at in times.items() if name in fields}
    return Frame("rest_state", fields, normal_id(state.get("Device")), -1, "rest", at=newest, times=times)


def _without_measurement(fields: Fields) -> list[str]:
    """The temperatures that are 0 for "none": another probe says that it is far from freezing."""
    known = [raw for name in _TEMPERATURES if isinstance(raw := fields.get(name), int | float)]
    if not any(abs(raw) > _DISAGREE for raw in known):
        return []
    return [name for name in _TEMPERATURES if name in fields and fields[name] == 0]


def rest_device(listed: Mapping[str, Any]) -> Frame:
    """An object of ``/devices``: settings, and what the device can do.

    Of two representations of one setting the newer one counts, so that a stale copy can not contradict it.
    """
    fields = _flat(listed, "Brightness")
    if "Lock" in fields:
        fields.pop("ButtonState", None)
    for name, copy in (("MaxBrightness", "Brightness.a_br"), ("MinBrightness", "Brightness.i_br")):
        if name in fields:
            fields.pop(copy, None)
    return Frame("rest_device", fields, normal_id(listed.get("Id")), -1, "rest")


def _parse_rest(message: dict[str, Any]) -> Frame:
    """One object of the REST service, as a person may have copied it."""
    for wrapper in ("DeviceState", "Device"):
        if isinstance(message.get(wrapper), dict):
            message = message[wrapper]
            break
    if "Id" in message and "Model" in message:
        return rest_device(message)
    if "Device" in message and "InstalledVersion" in message:
        return Frame("rest_firmware", dict(message), normal_id(message["Device"]), -1, "rest")
    if "update" in message and "installedVersion" in message:
        return Frame("rest_update", dict(message), None, -1, "rest")
    if any(isinstance(raw, dict) and "v" in raw for raw in message.values()):
        return rest_state(message)
    raise FrameError("a JSON object of no known form", sort="unknown_object")


def objects_by_id(answer: Mapping[str, Any], keyed: str, listed: str) -> dict[str, dict[str, Any]]:
    """The objects of an answer by device id, in either of the service's two forms.

    Args:
        answer: the body, such as ``{"DevicesObj": {...}}``.
        keyed: the name of the form by id, such as ``DevicesObj``.
        listed: the name of the list form, such as ``Devices``.

    Raises:
        FrameError: neither form.
    """
    found = answer.get(keyed, answer.get(listed))
    if isinstance(found, dict):
        entries = [(normal_id(name), entry) for name, entry in found.items()]
    elif isinstance(found, list):
        entries = [(normal_id(_object(entry).get("Id", _object(entry).get("Device"))), entry) for entry in found]
    else:
        raise FrameError(f"an answer without {keyed}", sort="no_list")
    return {name: entry for name, entry in entries if name and isinstance(entry, dict)}


# --- out --------------------------------------------------------------------------------------------------------------

_ALLOWED_LEGACY: Final[Mapping[int, frozenset[str]]] = {
    CHECK_SETTINGS: frozenset({"Device", "EventType", "MsgType", "Timestamp"}),
    DUMP_READINGS: frozenset({"Device", "MsgType", "Timestamp"}),
    START_PUBLISHING: frozenset({"Device", "MsgType", "Timeout", "Timestamp"}),
}
"""The legacy messages that may be sent, with all their keys; they are flat and hold integers alone."""

_ALLOWED_COMMAND: Final = frozenset({"Timestamp", "ver", "time", "id", "msg", "resp", "src", "dest", "body"})
_BODY_KEYS: Final = frozenset({"ver", "type", "cmd"})
_PARTY_KEYS: Final = frozenset({"ref", "type"})
_COMMAND_KEYS: Final = frozenset({"tm", "sp", "md", "fn", "ss", "ssh", "it", "tr", "ho", "lk", "br", "pr"})
_BODY_TYPES: Final = range(1, 6)
_APP_USER: Final = 100


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to a device: the only thing that is ever published towards the cloud.

    It can be made of the messages with ``MsgType`` 6, 7 and 11 and of commands (``msg`` 44) alone, and goes to the
    device's own ``in`` topic alone. What is sent is made from the checked message here, so nothing can slip in between.

    Attributes:
        device_id: twelve hex digits in lower case; a device ignores any other spelling.
        message: the JSON object.
        payload: its bytes.

    Raises:
        CommandError: any other message.
    """

    device_id: str
    message: Mapping[str, Any]
    payload: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the message key by key and freeze it as bytes."""
        if type(self.device_id) is not str or not _ID.fullmatch(self.device_id):
            raise _forbidden("a device is named by twelve hex digits in lower case")
        payload = orjson.dumps(_checked(dict(self.message), self.device_id))
        object.__setattr__(self, "message", MappingProxyType(orjson.loads(payload)))
        object.__setattr__(self, "payload", payload)

    @property
    def topic(self) -> str:
        """Where it goes."""
        return topic_in(self.device_id)

    @property
    def sent_id(self) -> int | None:
        """The id that the answer to a command echoes; ``None`` for the legacy messages, which nobody answers."""
        return self.message.get("id")


def _forbidden(why: str) -> CommandError:
    return CommandError(f"this message is never sent: {why}", code="forbidden")


def _checked(message: dict[str, Any], device_id: str) -> dict[str, Any]:
    if "MsgType" in message:
        return _checked_legacy(message, device_id)
    if type(message.get("msg")) is int and message["msg"] == COMMAND:
        return _checked_command(message, device_id)
    raise _forbidden("only MsgType 6, 7, 11 and msg 44 are")


def _checked_legacy(message: dict[str, Any], device_id: str) -> dict[str, Any]:
    number = message["MsgType"]
    allowed = _ALLOWED_LEGACY.get(number) if type(number) is int else None
    if allowed is None:
        raise _forbidden("only MsgType 6, 7, 11 and msg 44 are")
    if message.keys() != allowed or message["Device"] != device_id or type(message["Device"]) is not str:
        raise _forbidden(f"MsgType {number} has exactly the keys {', '.join(sorted(allowed))}, and the device's own id")
    if any(type(raw) is not int for name, raw in message.items() if name != "Device"):
        raise _forbidden("its numbers are integers")
    return message


def _checked_command(message: dict[str, Any], device_id: str) -> dict[str, Any]:
    if message.keys() != _ALLOWED_COMMAND or type(message["ver"]) is not str:
        raise _forbidden(f"a command has exactly the keys {', '.join(sorted(_ALLOWED_COMMAND))}")
    if any(type(message[name]) is not int for name in ("Timestamp", "time", "id", "resp")):
        raise _forbidden("its numbers are integers")
    for party in ("src", "dest"):
        found = message[party]
        is_party = type(found) is dict and found.keys() == _PARTY_KEYS
        if not is_party or type(found["ref"]) is not str or type(found["type"]) is not int:
            raise _forbidden(f"its {party} names a ref and a type")
    if message["dest"] != {"ref": device_id, "type": _FROM_DEVICE}:
        raise _forbidden("it is for the device whose topic it goes to")
    body = message["body"]
    if type(body) is not dict or body.keys() != _BODY_KEYS or type(body["ver"]) is not int:
        raise _forbidden("its body has ver, type and cmd")
    if type(body["type"]) is not int or body["type"] not in _BODY_TYPES:
        raise _forbidden("its body's type is a number from 1 to 5")
    command = body["cmd"]
    if type(command) is not list or len(command) != 1 or type(command[0]) is not dict:
        raise _forbidden("its cmd is one object in a list")
    for name, raw in command[0].items():
        _check_setting(name, raw)
    return message


def _check_setting(name: object, raw: object) -> None:
    if name not in _COMMAND_KEYS:
        raise _forbidden(f"{str(name)[:20]} is no setting of a command")
    values = raw.values() if name == "br" and type(raw) is dict else (raw,)
    if not all(type(value) in (int, float) for value in values):
        raise _forbidden(f"{name} is a number")


def start_publishing(device_id: str, at: float, timeout: int = 300) -> Outgoing:
    """Ask a device to report each few seconds for ``timeout`` seconds (`docs/protocol/mysa.md` 4.3)."""
    return _legacy(device_id, START_PUBLISHING, at, Timeout=timeout)


def check_settings(device_id: str, at: float) -> Outgoing:
    """Tell a device that its settings were changed at the REST service (`docs/protocol/mysa.md` 4.4)."""
    return _legacy(device_id, CHECK_SETTINGS, at, EventType=0)


def dump_readings(device_id: str, at: float) -> Outgoing:
    """Ask a device for its binary readings now (`docs/protocol/mysa.md` 4.4)."""
    return _legacy(device_id, DUMP_READINGS, at)


def _legacy(device_id: str, number: int, at: float, **more: int) -> Outgoing:
    return Outgoing(device_id, {"Device": device_id, "MsgType": number, **more, "Timestamp": int(at)})


def command(device_id: str, cmd: Mapping[str, Raw], body_type: int, *, user: str, sent_id: int) -> Outgoing:
    """A command (`docs/protocol/mysa.md` 4.10).

    Args:
        device_id: whom.
        cmd: the settings, such as ``{"sp": 21.0}``.
        body_type: the number of the device's true model, see `models.Model`.
        user: the account's ``User.Id``.
        sent_id: epoch milliseconds, not used before; the answer echoes it.

    Raises:
        CommandError: a setting that no device knows.
    """
    seconds = sent_id // 1000
    message = {
        "Timestamp": seconds,
        "ver": _ENVELOPE_VERSION,
        "time": seconds,
        "id": sent_id,
        "msg": COMMAND,
        "resp": 2,
        "src": {"ref": user, "type": _APP_USER},
        "dest": {"ref": device_id, "type": _FROM_DEVICE},
        "body": {"ver": 1, "type": body_type, "cmd": [{"tm": -1, **cmd}]},
    }
    return Outgoing(device_id, message)
