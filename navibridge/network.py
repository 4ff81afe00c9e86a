"""The ways to a vendor's cloud, as the core hands them to a session: to its REST services, and to its AWS IoT endpoint.

Sessions open nothing by themselves. What stands here is the real network; whoever wants a session to live elsewhere,
such as in a test that lets months pass in a minute, hands it another object with the same two methods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from navibridge.aws import CloudLink
    from navibridge.diagnosis import Credentials, Endpoint
    from navibridge.rest import Rest


class Network:
    """The internet. Its parts are imported when they are first needed: the AWS runtime alone takes 20 MB."""

    def rest(
        self, base_url: str, *, ca_file: str | None, clock: Callable[[], float], spend: Callable[[], None]
    ) -> Rest:
        """A client of one REST service, not open yet; see `navibridge.rest.Rest`."""
        from navibridge.rest import Rest  # noqa: PLC0415 - see the class

        return Rest(base_url, ca_file=ca_file, clock=clock, spend=spend)

    async def open_link(
        self,
        endpoint: Endpoint,
        client_id: str,
        credentials: Callable[[], Credentials],
        *,
        will: tuple[str, bytes] | None = None,
        clock: Callable[[], float],
    ) -> CloudLink:
        """A connection to AWS IoT; see `navibridge.aws.CloudLink.open`. The will is a topic and a payload.

        Raises:
            LinkError: it could not be opened.
        """
        from navibridge import aws  # noqa: PLC0415 - see the class

        last_words = aws.Will(*will) if will is not None else None
        return await aws.CloudLink.open(endpoint, client_id, credentials, will=last_words, clock=clock)
