"""Which frame answers a control, and whether it says that the control worked (`docs/protocol/navilink.md` 5.3, 5.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from navibridge.vendors.navilink.unit import STATE_FORMS

if TYPE_CHECKING:
    import asyncio

    from navibridge.model import Device, Value, Values
    from navibridge.vendors.navilink.devices import Control
    from navibridge.vendors.navilink.frames import Frame

FAILURES: Final = frozenset({"control_fail", "gas_control_fail"})
"""The forms that say no to a control."""

NEAR: Final = 0.6
"""Steps by which a confirmed number may differ: a unit that counts in °F can not say every half degree Celsius."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A control on its way.

    Attributes:
        control: what was sent.
        session_id: what its answer echoes.
        device: whom it was sent to.
        news: whether it asks for other values than those known when it was sent.
        answer: gets the frame that answers, and the values it means.
    """

    control: Control
    session_id: str
    device: Device
    news: bool
    answer: asyncio.Future[tuple[Frame, Values]]

    def is_answered_by(self, frame: Frame, values: Values, client_id: str) -> bool:
        """Whether the frame, which means these values, is the device's word on the control."""
        about_it = (
            frame.form in FAILURES
            or frame.command == self.control.command
            or frame.form == "gas_channel_status"  # names no command
            or (frame.form == "acknowledgement" and not self.control.confirms)
        )
        if frame.session_id == self.session_id and frame.client_id in (client_id, None, ""):
            return about_it
        if not frame.session_id and frame.form != "gas_channel_status":
            return about_it  # binary frames echo nothing
        # The acknowledgement may be lost, and the device have obeyed: then it says so in its next report.
        return self.news and frame.form in STATE_FORMS and self._shows_in(values)

    def _shows_in(self, values: Values) -> bool:
        confirms = self.control.confirms
        return bool(confirms) and all(key in values for key in confirms) and not self.contradiction(values)

    def contradiction(self, values: Values) -> tuple[str, ...]:
        """The attributes that the answer shows with another value than asked for; what it leaves out is no no."""
        control = self.control
        if control.otherwise and _unlike(self.device, control.otherwise, values, missing=True) == ():
            return ()
        return _unlike(self.device, control.confirms, values, missing=False)


def is_news(device: Device, control: Control, values: Values) -> bool:
    """Whether a control asks for anything else than what is known."""
    return bool(_unlike(device, control.confirms, values, missing=True))


def _unlike(device: Device, expected: Values, values: Values, *, missing: bool) -> tuple[str, ...]:
    """The keys whose values are not the expected ones; ``missing`` says whether an absent value is unlike."""
    return tuple(
        key
        for key, value in expected.items()
        if (key in values or missing) and not _agrees(device, key, value, values.get(key))
    )


def _agrees(device: Device, key: str, expected: Value, value: Value) -> bool:
    if _is_number(expected) and _is_number(value):
        row = device.attribute(key)
        step = row.step if row is not None and isinstance(row.step, int | float) else 0.0
        return expected == value or abs(float(expected or 0) - float(value or 0)) < NEAR * step
    return expected == value


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
