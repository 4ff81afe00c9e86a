"""Records what a session and its vendor's cloud tell each other, for a capture (see `navibridge.capture`).

`RecordingNetwork` is the real network with an ear at every connection. Sessions do not know of it, and so no vendor has
to do anything for being recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import orjson

from navibridge.capture import Line
from navibridge.errors import LinkError
from navibridge.network import Network

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from navibridge.aws import CloudLink, Message
    from navibridge.diagnosis import Credentials, Endpoint
    from navibridge.rest import Answer, Rest


class RecordingNetwork(Network):
    """The internet, overheard.

    Args:
        account: whose connections these are, by the name that the lines use.
        record: gets every line, private things included.
        clock: seconds since the epoch.
    """

    def __init__(self, account: str, record: Callable[[Line], None], clock: Callable[[], float]) -> None:
        self._account = account
        self._record = record
        self._clock = clock
        self._links = 0

    def rest(
        self, base_url: str, *, ca_file: str | None, clock: Callable[[], float], spend: Callable[[], None]
    ) -> Rest:
        """A client of one REST service whose answers are recorded."""
        rest = super().rest(base_url, ca_file=ca_file, clock=clock, spend=spend)
        return cast("Rest", _RecordedRest(rest, self._answered))

    async def open_link(
        self,
        endpoint: Endpoint,
        client_id: str,
        credentials: Callable[[], Credentials],
        *,
        will: tuple[str, bytes] | None = None,
        clock: Callable[[], float],
    ) -> CloudLink:
        """A connection whose frames are recorded.

        Raises:
            LinkError: it could not be opened; that is recorded, too.
        """
        self._links += 1
        number = self._links
        try:
            link = await super().open_link(endpoint, client_id, credentials, will=will, clock=clock)
        except LinkError as error:
            self._tell(Line(self._clock(), "refused", self._account, client_id, error.reason.encode(), number))
            raise
        self._tell(Line(self._clock(), "open", self._account, client_id, b"", number))
        return cast("CloudLink", _RecordedLink(link, number, client_id, self))

    def _answered(self, topic: str, status: int, body: bytes) -> None:
        self._tell(Line(self._clock(), "rest", self._account, topic, body, status=status))

    def frame(self, message: Message, number: int) -> None:
        """A frame of the cloud."""
        self._tell(Line(message.at, "in", self._account, message.topic, message.payload, number))

    def sent(self, topic: str, payload: bytes, number: int) -> None:
        """A frame of ours."""
        self._tell(Line(self._clock(), "out", self._account, topic, payload, number))

    def ended(self, client_id: str, reason: str, number: int) -> None:
        """The end of a link."""
        self._tell(Line(self._clock(), "close", self._account, client_id, reason.encode(), number))

    def _tell(self, line: Line) -> None:
        self._record(line)


def operation(method: str, path: str, headers: Mapping[str, str] | None) -> str:
    """What a REST request is recognised by: method, path, and what AWS's services have in place of a path."""
    target = next((value for name, value in (headers or {}).items() if name.lower() == "x-amz-target"), "")
    return " ".join(filter(None, (method, path, target)))


class _RecordedRest:
    """A `Rest` whose answers are recorded. Requests are not: they hold what the account is guarded by."""

    def __init__(self, rest: Rest, answered: Callable[[str, int, bytes], None]) -> None:
        self._rest = rest
        self._answered = answered

    async def __aenter__(self) -> Self:
        await self._rest.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._rest.__aexit__(kind, error, trace)

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        topic = operation(method, path, headers)
        try:
            answer = await self._rest.request(method, path, json=json, query=query, headers=headers)
        except LinkError as error:
            self._answered(topic, 0, error.reason.encode())
            raise
        self._answered(topic, answer.status, orjson.dumps(answer.body))
        return answer


class _RecordedLink:
    """A `CloudLink` whose frames are recorded as they are dealt with."""

    def __init__(self, link: CloudLink, number: int, client_id: str, network: RecordingNetwork) -> None:
        self._link = link
        self._number = number
        self._client_id = client_id
        self._network = network
        self._open = True

    async def subscribe(self, filters: Sequence[str], qos: int = 1) -> dict[str, bool]:
        return await self._link.subscribe(filters, qos)

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        await self._link.unsubscribe(filters)

    async def publish(self, topic: str, payload: bytes, qos: int = 1, *, wait: bool = True) -> None:
        self._network.sent(topic, payload, self._number)
        await self._link.publish(topic, payload, qos, wait=wait)

    async def messages(self) -> AsyncIterator[Message]:
        try:
            async for message in self._link.messages():
                self._network.frame(message, self._number)
                yield message
        except LinkError as error:
            self._end(error.reason)
            raise

    async def close(self) -> None:
        self._end("")
        await self._link.close()

    def _end(self, reason: str) -> None:
        if self._open:
            self._open = False
            self._network.ended(self._client_id, reason, self._number)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)
