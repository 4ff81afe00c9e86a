"""How quick the simulated thermostats are, and what may be wrong with them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Timing:
    """How quick the thermostats are; seconds of real time. Pairs are the limits of a random choice.

    Attributes:
        answer: between a command and its answer.
        status: between the reports of a thermostat that was told to publish; divided by ``speed``, but at least 1.
        report: between reports nobody asked for; 0 for none.
        record: between the records of a batch.
        batch: between batches nobody asked for; 0 for none.
        flush: between the request for a batch and the batch.
        rest: until the REST service shows what a thermostat has said.
        boot: between the power and the first words.
        speed: seconds the rooms live in one second.
        tick: between two looks at the rooms; up to a minute.
    """

    answer: tuple[float, float] = (0.2, 1.0)
    status: float = 5.0
    report: float = 300.0
    record: float = 30.0
    batch: float = 600.0
    flush: tuple[float, float] = (0.5, 2.0)
    rest: tuple[float, float] = (2.0, 8.0)
    boot: tuple[float, float] = (1.0, 3.0)
    speed: float = 1.0
    tick: float = 1.0


@dataclass(slots=True)
class DeviceFaults:
    """What is wrong with one thermostat; set and unset while it runs.

    Attributes:
        offline: no power, or no network: says nothing, hears nothing, measures nothing.
        connected: what the REST service says of it instead of the truth.
        deaf: says what it always says, and hears nothing.
        silent: hears and obeys, but nothing it says arrives.
        untold: says nothing of what somebody sets at it.
        drop_acks: carries commands out without acknowledging them.
        late_acks: seconds that acknowledgements come later.
        double_acks: acknowledges everything twice.
        contradict_acks: acknowledges commands it has not carried out, with the old values.
        fail_acks: carries nothing out, and answers with ``success`` 0.
        tell_refusals: answers what it refuses with ``success`` 0 instead of silence.
        without_resp_id: acknowledges without saying what.
        without_mode: leaves the mode out of what it acknowledges.
        garbled: every message is damaged.
        truncated: every message is cut off.
        raw_newline: log lines carry a newline that is not escaped.
        duplicate: every message comes twice.
        unknown_messages: a message that no table lists follows each status.
        beside_body: the in-floor puts some of its status beside the body.
        late_batches: seconds that batches come later than they were made.
        duplicate_batches: every batch comes twice.
        bad_checksums: every second record is damaged.
        clock_offset: seconds that its clock is ahead.
        frozen: time stands still for its room; it talks, and nothing ever changes by itself.
        stale: the REST service shows nothing new of it.
        absent_from_state: the REST service lists it, but has no state of it.
    """

    offline: bool = False
    connected: bool | None = None
    deaf: bool = False
    silent: bool = False
    untold: bool = False
    drop_acks: bool = False
    late_acks: float = 0.0
    double_acks: bool = False
    contradict_acks: bool = False
    fail_acks: bool = False
    tell_refusals: bool = False
    without_resp_id: bool = False
    without_mode: bool = False
    garbled: bool = False
    truncated: bool = False
    raw_newline: bool = False
    duplicate: bool = False
    unknown_messages: bool = False
    beside_body: bool = False
    late_batches: float = 0.0
    duplicate_batches: bool = False
    bad_checksums: bool = False
    clock_offset: float = 0.0
    frozen: bool = False
    stale: bool = False
    absent_from_state: bool = False
