"""The cloud link: the real AWS runtime, into the simulated AWS IoT endpoint or into a wall."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import dead_line
from support.postbox import SECRET_KEY, TOKEN, Postbox, endpoint

from navibridge import aws
from navibridge.aws import CloudLink, Endpoint, Limits, Message, Will
from navibridge.demo.broker import AWS
from navibridge.demo.cloud import SimulatedCloud
from navibridge.errors import AuthError, LinkError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

QUICK = Limits(opening=3.0, patience=0.1, diagnosis=2.0, suback=2.0, puback=1.0)
WITHIN = 10.0


@pytest.fixture
def box() -> Postbox:
    return Postbox()


@pytest.fixture
async def cloud(box: Postbox) -> AsyncIterator[SimulatedCloud]:
    async with SimulatedCloud([box]) as cloud:
        yield cloud


@pytest.fixture(params=["MQTT3", "MQTT5"])
def to(request: pytest.FixtureRequest, cloud: SimulatedCloud) -> Endpoint:
    return endpoint(cloud, protocol=request.param)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WITHIN):
        while not condition():  # noqa: ASYNC110 - the library's threads set no event of ours
            await asyncio.sleep(0.01)


async def opened(to: Endpoint, box: Postbox, client_id: str = "me", **options: Any) -> CloudLink:
    return await CloudLink.open(to, client_id, box.credentials, **({"limits": QUICK} | options))


async def refusal(to: Endpoint, box: Postbox, **options: Any) -> LinkError:
    with pytest.raises(LinkError) as raised:
        await opened(to, box, **options)
    assert raised.value.what_to_do
    return raised.value


async def first(link: CloudLink) -> Message:
    async with asyncio.timeout(WITHIN):
        return await anext(aiter(link.messages()))


async def end_of(link: CloudLink) -> tuple[list[bytes], str]:
    """What still came, and the reason of the end."""
    payloads: list[bytes] = []
    try:
        async with asyncio.timeout(WITHIN):
            async for message in link.messages():
                payloads.append(message.payload)  # noqa: PERF401 - kept although the loop ends by raising
    except LinkError as error:
        return payloads, error.reason
    return payloads, ""


# Sending and receiving.


async def test_what_is_published_arrives_and_comes_back(to: Endpoint, box: Postbox) -> None:
    link = await opened(to, box, username="?SDK=navibridge")
    before = time.time()
    assert await link.subscribe(["post/#"]) == {"post/#": True}
    await link.publish("post/a", b"\x00hello")
    message = await first(link)
    assert (message.topic, message.payload) == ("post/a", b"\x00hello")
    assert before <= message.at <= time.time()
    assert box.posted == [("owner", "me", "post/a", b"\x00hello")]
    await link.unsubscribe(["post/#"])
    await link.publish("post/b", b"", qos=0)
    await link.publish("post/c", b"", wait=False)
    await until(lambda: [posted[2] for posted in box.posted] == ["post/a", "post/b", "post/c"])
    await link.close()
    assert await end_of(link) == ([], "")


async def test_many_filters_go_out_in_packets_that_aws_takes(to: Endpoint, box: Postbox, cloud: SimulatedCloud) -> None:
    filters = [f"post/{number}" for number in range(30)]
    link = await opened(to, box, limits=replace(QUICK, in_flight=2))
    assert await link.subscribe(filters) == dict.fromkeys(filters, True)
    assert set(cloud.broker("postbox").subscriptions("me")) == set(filters)
    assert await link.subscribe([]) == {}
    await link.unsubscribe(filters)
    assert not cloud.broker("postbox").subscriptions("me")
    await link.close()


async def test_a_refused_filter_is_told_apart(to: Endpoint, box: Postbox, cloud: SimulatedCloud) -> None:
    cloud.rules = replace(AWS, close_on_forbidden=False)
    link = await opened(to, box)
    assert await link.subscribe(["post/a", "other/b", "post/c"]) == {"post/a": True, "other/b": False, "post/c": True}
    await link.close()


async def test_a_forbidden_filter_breaks_the_link(to: Endpoint, box: Postbox) -> None:
    link = await opened(to, box)
    with pytest.raises(LinkError) as raised:
        await link.subscribe(["post/a", "other/b"])
    assert raised.value.reason == "closed"
    assert await end_of(link) == ([], "closed")
    with pytest.raises(LinkError):
        await link.publish("post/a", b"")
    await link.close()


async def test_the_will_is_published_when_the_link_breaks_and_only_then(
    to: Endpoint, box: Postbox, cloud: SimulatedCloud
) -> None:
    will = Will("post/will", b"gone")
    link = await opened(to, box, will=will)
    await link.close()
    await until(lambda: not cloud.broker("postbox").clients)
    assert not box.posted
    link = await opened(to, box, will=will)
    cloud.drop_all()
    await until(lambda: box.posted)
    assert box.posted == [("owner", "me", "post/will", b"gone")]
    assert await end_of(link) == ([], "closed")


# Waiting for acknowledgements.


async def test_a_missing_puback_is_named(to: Endpoint, box: Postbox, cloud: SimulatedCloud) -> None:
    link = await opened(to, box, limits=replace(QUICK, puback=0.2))
    cloud.faults.swallow_puback = True
    with pytest.raises(LinkError) as raised:
        await link.publish("post/a", b"")
    assert raised.value.reason == "puback_timeout"
    await link.publish("post/b", b"", wait=False)
    await until(lambda: len(box.posted) == 2)
    cloud.faults.swallow_puback = False
    await link.publish("post/c", b"")
    assert link.unconfirmed == 0
    await link.close()
    await until(lambda: link.unconfirmed == 1)


async def test_who_waits_is_told_at_once_when_the_link_breaks(
    to: Endpoint, box: Postbox, cloud: SimulatedCloud
) -> None:
    link = await opened(to, box, limits=replace(QUICK, puback=60.0))
    cloud.faults.swallow_puback = True
    async with asyncio.timeout(WITHIN):
        waiting = asyncio.create_task(link.publish("post/a", b""))
        await until(lambda: box.posted)
        cloud.drop_all()
        with pytest.raises(LinkError) as raised:
            await waiting
    assert raised.value.reason == "closed"


class Unhurried(CloudLink):
    """A link whose event loop has much to do: it hears of the end a while after the library has."""

    heard = 0

    def _lost(self, error: Any) -> None:
        self.heard += 1
        self._loop.call_later(0.3, super()._lost, error)


@pytest.mark.parametrize("wait", [True, False])
async def test_what_is_published_on_a_broken_link_is_never_sent_later(
    to: Endpoint, box: Postbox, cloud: SimulatedCloud, wait: bool
) -> None:
    limits = replace(QUICK, reconnect=1)
    link = await Unhurried.open(to, "me", box.credentials, limits=limits)
    cloud.drop_all()
    await until(lambda: link.heard)
    with suppress(LinkError):
        await link.publish("post/1", b"too late", wait=wait)
    await until(lambda: link._client is None)
    # The library keeps its promise by then, or breaks it: its delay has passed several times.
    await asyncio.sleep(3 * limits.reconnect)
    assert (cloud.counts.upgrades, box.posted) == (1, [])


@pytest.mark.parametrize("protocol", ["MQTT3", "MQTT5", "HTTPS"])
async def test_what_a_dead_line_held_back_does_not_arrive_when_it_is_alive_again(protocol: str) -> None:
    async def played(undelivered: float) -> str:
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, dead_line.__file__, protocol, str(undelivered)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, errors = await program.communicate()
        if program.returncode == dead_line.NO_NETWORK:
            pytest.skip(f"a network that can be cut needs permissions: {said.decode().strip()}")
        assert program.returncode == 0, errors.decode()
        return said.decode().strip()

    assert await asyncio.gather(played(1.0), played(600.0)) == ["never", "arrived"]


async def test_who_waits_is_told_when_the_link_is_closed(to: Endpoint, box: Postbox, cloud: SimulatedCloud) -> None:
    link = await opened(to, box)
    cloud.faults.swallow_puback = True
    waiting = asyncio.create_task(link.publish("post/a", b""))
    await until(lambda: box.posted)
    await link.close()
    await link.close()
    with pytest.raises(LinkError):
        await waiting
    with pytest.raises(LinkError):
        await link.subscribe(["post/a"])


async def test_giving_up_a_wait_leaves_the_library_in_peace(to: Endpoint, box: Postbox, cloud: SimulatedCloud) -> None:
    link = await opened(to, box)
    cloud.faults.latency = 0.3
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await link.publish("post/a", b"")
    await link.publish("post/b", b"")
    await link.close()


async def test_a_topic_the_library_will_not_have(to: Endpoint, box: Postbox) -> None:
    link = await opened(to, box)
    with pytest.raises(LinkError) as raised:
        await link.publish("post/+/#", b"")
    assert raised.value.reason == "failed"
    await link.publish("post/a", b"")
    await link.close()


# The end of a link.


async def test_what_came_before_the_end_is_delivered_first(to: Endpoint, box: Postbox, cloud: SimulatedCloud) -> None:
    link = await opened(to, box)
    await link.subscribe(["post/#"])
    for number in range(3):
        await link.publish("post/a", b"%d" % number)
    cloud.drop_all()
    assert await end_of(link) == ([b"0", b"1", b"2"], "closed")
    assert await end_of(link) == ([], "closed")
    again = await opened(to, box)
    await again.close()


async def test_a_second_link_of_the_same_client_id_ends_the_first(to: Endpoint, box: Postbox) -> None:
    one = await opened(to, box)
    two = await opened(to, box)
    assert await end_of(one) == ([], "closed")
    await two.publish("post/a", b"")
    await two.close()


@pytest.mark.parametrize("fault", ["session_seconds", "close_after_connack"])
async def test_the_cloud_ends_the_session(to: Endpoint, box: Postbox, cloud: SimulatedCloud, fault: str) -> None:
    setattr(cloud.faults, fault, 0.2)
    link = await opened(to, box)
    assert await end_of(link) == ([], "closed")


@pytest.mark.slow
async def test_a_connection_that_has_gone_dead_is_noticed_by_its_pings(
    to: Endpoint, box: Postbox, cloud: SimulatedCloud
) -> None:
    link = await opened(replace(to, keep_alive=2), box)
    cloud.faults.latency = 60.0
    assert await end_of(link) == ([], "timeout")


async def test_a_consumer_that_is_behind_loses_the_oldest(
    to: Endpoint, box: Postbox, cloud: SimulatedCloud, caplog: pytest.LogCaptureFixture
) -> None:
    link = await opened(to, box, limits=replace(QUICK, queue=3))
    await link.subscribe(["post/#"])
    assert box.cloud is not None
    for number in range(10):
        box.cloud.publish("post/a", b"%d" % number)
    await until(lambda: link.dropped == 7)
    cloud.drop_all()
    assert await end_of(link) == ([b"7", b"8", b"9"], "closed")
    assert sum("faster" in record.message for record in caplog.records) == 1


# Opening, and why it fails.


async def test_credentials_are_asked_for_at_each_handshake(to: Endpoint, box: Postbox) -> None:
    asked = []

    def credentials() -> aws.Credentials:
        asked.append(time.time())
        return box.credentials()

    for _ in range(2):
        link = await CloudLink.open(to, "me", credentials, limits=QUICK)
        await link.close()
    assert len(asked) >= 4


async def test_credentials_that_can_not_be_had(to: Endpoint, cloud: SimulatedCloud) -> None:
    def credentials() -> aws.Credentials:
        raise AuthError("no", reason="no", what_to_do="something")

    with pytest.raises(AuthError):
        await CloudLink.open(to, "me", credentials)
    assert not cloud.counts.upgrades


async def test_expired_credentials(to: Endpoint, box: Postbox, cloud: SimulatedCloud) -> None:
    box.expires_at = time.time() - 1
    error = await refusal(to, box)
    assert error.reason == "upgrade_refused"
    assert "expired" in str(error)
    assert set(cloud.counts.refused) == {"credentials_expired"}


@pytest.mark.parametrize(
    ("fault", "value", "reason"),
    [
        ("refuse_upgrade", 403, "upgrade_refused"),
        ("refuse_upgrade", 503, "service"),
        ("refuse_upgrade", 429, "service"),
        ("refuse_upgrade", 404, "service"),
        ("clock_offset", 3600.0, "clock"),
        ("clock_offset", -3600.0, "clock"),
    ],
)
async def test_a_refused_upgrade(
    to: Endpoint, box: Postbox, cloud: SimulatedCloud, *, fault: str, value: Any, reason: str
) -> None:
    setattr(cloud.faults, fault, value)
    assert (await refusal(to, box)).reason == reason
    setattr(cloud.faults, fault, None if fault == "refuse_upgrade" else 0.0)
    link = await opened(to, box)
    await link.close()


async def test_an_untrusted_certificate_is_named_within_five_seconds(
    to: Endpoint, box: Postbox, cloud: SimulatedCloud
) -> None:
    started = time.monotonic()
    error = await refusal(replace(to, ca_file=None), box, limits=aws.LIMITS)
    assert error.reason == "tls"
    assert time.monotonic() - started < 5
    cloud.drop_all()


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_authorities_that_can_not_be_read(
    to: Endpoint, box: Postbox, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    error = await refusal(replace(to, ca_file=str(path)), box)
    assert error.reason == "tls"
    assert str(path) in str(error)


async def test_nobody_listens(to: Endpoint, box: Postbox) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        error = await refusal(replace(to, port=reserved.getsockname()[1]), box)
    assert error.reason == "refused"


async def test_a_name_that_does_not_exist(to: Endpoint, box: Postbox) -> None:
    label_too_long = "x" * 64
    assert (await refusal(replace(to, host=f"{label_too_long}.invalid"), box)).reason == "dns"


async def test_a_server_that_closes_instead_of_answering(to: Endpoint, box: Postbox) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        error = await refusal(replace(to, port=server.sockets[0].getsockname()[1]), box)
    assert error.reason == "closed"


async def test_a_hang_at_the_upgrade_is_given_up_counted_and_not_repeated(
    to: Endpoint, box: Postbox, cloud: SimulatedCloud
) -> None:
    cloud.faults.hang_upgrade = True
    limits = replace(QUICK, opening=0.8, diagnosis=0.3)
    error = await refusal(to, box, limits=limits)
    assert error.reason == "timeout"
    assert "WebSocket" in str(error)
    assert CloudLink.abandoned(to) == 1
    assert (await refusal(to, box, limits=limits)).reason == "timeout"
    assert CloudLink.abandoned(to) == 1, "the library was asked again although the first attempt still hangs"
    cloud.faults.hang_upgrade = False
    assert (await refusal(to, box, limits=replace(limits, abandoned=1))).reason == "exhausted"
    link = await opened(to, box)
    await link.publish("post/a", b"")
    cloud.drop_all()
    await until(lambda: not CloudLink.abandoned(to))
    assert await end_of(link) == ([], "closed")


class Thorough(CloudLink):
    """A link that takes its time to find out why an attempt failed."""

    async def _diagnose(self, _: Any) -> LinkError | None:
        await asyncio.sleep(2.5 * self._limits.reconnect)
        return None


async def test_an_attempt_that_failed_is_not_made_again_meanwhile(
    to: Endpoint, box: Postbox, cloud: SimulatedCloud
) -> None:
    box.expires_at = 0.0
    with pytest.raises(LinkError):
        await Thorough.open(to, "me", box.credentials, limits=replace(QUICK, reconnect=1))
    assert cloud.counts.refused.total() == 1


async def test_an_attempt_that_succeeds_too_late_is_undone(to: Endpoint, box: Postbox, cloud: SimulatedCloud) -> None:
    cloud.faults.latency = 0.6
    assert (await refusal(to, box, limits=replace(QUICK, opening=0.3))).reason == "timeout"
    assert CloudLink.abandoned(to) == 1
    await until(lambda: cloud.broker("postbox").clients)
    cloud.faults.latency = 0.0
    await until(lambda: not cloud.broker("postbox").clients)
    assert not CloudLink.abandoned(to)


async def test_a_slow_cloud_is_waited_for(to: Endpoint, box: Postbox, cloud: SimulatedCloud) -> None:
    cloud.faults.latency = 0.4
    link = await opened(to, box)
    assert cloud.counts.upgrades == 2, "the attempt and the question why it takes so long"
    await link.close()


async def test_opening_can_be_broken_off(to: Endpoint, box: Postbox, cloud: SimulatedCloud) -> None:
    cloud.faults.hang_upgrade = True
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await opened(to, box)
    assert CloudLink.abandoned(to) == 1
    cloud.drop_all()


# What must not happen.


async def test_no_secret_is_logged_or_shown(
    to: Endpoint, box: Postbox, cloud: SimulatedCloud, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    link = await opened(to, box)
    await link.publish("post/a", b"")
    await link.close()
    cloud.faults.refuse_upgrade = 403
    error = await refusal(to, box)
    shown = caplog.text + repr(error) + repr(box.credentials()) + repr(to)
    for secret in (SECRET_KEY, TOKEN, "X-Amz", box.access_key):
        assert secret not in shown


async def test_a_message_for_a_loop_that_is_gone_is_nobodys_business() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    aws._post(loop, print, "lost")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts what Linux shows of a process")
@pytest.mark.slow
async def test_many_links_leave_nothing_behind(to: Endpoint, box: Postbox, cloud: SimulatedCloud) -> None:
    async def one(number: int) -> None:
        link = await opened(to, box)
        await link.subscribe(["post/#"])
        if number % 2:
            await link.close()
        else:
            cloud.drop_all()
            await end_of(link)

    def held() -> tuple[int, int, int]:
        gc.collect()
        clients = sum(type(thing) in (aws._Mqtt3, aws._Mqtt5) for thing in gc.get_objects())
        descriptors, threads = (len(list(Path("/proc/self", name).iterdir())) for name in ("fd", "task"))
        return descriptors, threads, clients

    for number in range(4):
        await one(number)
    await until(lambda: not cloud.broker("postbox").clients)
    before = held()
    for number in range(40):
        await one(number)
    await until(lambda: not cloud.broker("postbox").clients)
    await until(lambda: all(now <= then + 2 for now, then in zip(held(), before, strict=True)))
