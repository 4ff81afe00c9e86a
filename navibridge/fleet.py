"""The devices of all accounts: which there are, whose each is, and what is known of them.

What an account's session says of a device goes into the cache here, and the publisher is told. Of two accounts that
have the same device, one shows it and the other is its heir.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from navibridge.config import device_key
from navibridge.mistakes import unmatched_device
from navibridge.model import Confirmed, Device, Event, Found, Gone, LinkDown, LinkUp, Presence, Reading, ReadOnly
from navibridge.state import Display
from navibridge.topics import device_topic
from navibridge.transitions import Whereabouts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from navibridge.account import Account
    from navibridge.config import Config, DeviceSettings
    from navibridge.metrics import Metrics
    from navibridge.publisher import Publisher
    from navibridge.state import Cache, DeviceState
    from navibridge.store import Store

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Listed:
    """A device as one account has it.

    Attributes:
        device: as the account described it last.
        present: what the account says of its connection.
        reason: why it is not present.
    """

    device: Device
    present: bool = True
    reason: str = ""


class Fleet:
    """Every device, whoever has it.

    Args:
        config: the whole configuration.
        accounts: by their names.
        cache: what is known of the devices.
        publisher: told what has changed.
        store: where the energy counters are kept over a restart.
        metrics: where readings are counted.
        whereabouts: is told of devices that come and go.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        config: Config,
        accounts: Mapping[str, Account],
        cache: Cache,
        publisher: Publisher,
        store: Store,
        *,
        metrics: Metrics,
        whereabouts: Whereabouts,
        clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._accounts = accounts
        self._cache = cache
        self._publisher = publisher
        self._store = store
        self._metrics = metrics
        self._whereabouts = whereabouts
        self._turns = Whereabouts(log)
        self._clock = clock
        self._counters: dict[str, Any] = store.load("counters")
        self._keys: dict[tuple[str, str], str] = {}
        self._listed: dict[str, dict[str, Listed]] = {}
        self._left_out: set[str] = set()
        self._unasked = dict.fromkeys(config.devices)
        self._unmatched_told = False

    def take(self, account: Account, event: Event) -> None:
        """What an account's session says."""
        match event:
            case Found(device):
                self._found(account, device)
            case Gone(device_id):
                self._gone(account, device_id)
            case Reading():
                self._read(account, event)
            case Confirmed():
                self._confirmed(account, event)
            case Presence(device_id, online, reason):
                self._present(account, device_id, online, reason)
            case LinkUp() | LinkDown() | ReadOnly():
                self._publisher.mark_info()
                self._tell_unmatched()
        self._publisher.wake()

    def owner(self, key: str) -> tuple[Account, Device] | None:
        """The account that reaches a device by now, and the device as it is known by now; ``None`` if there is none."""
        state = self._cache.get(key)
        return (self._accounts[state.account], state.device) if state else None

    def _found(self, account: Account, device: Device) -> None:
        settings = self.settings(device.vendor, device.id)
        if settings.exclude:
            return
        if settings.name:
            device = replace(device, name=settings.name)
        key = settings.topic or device_topic(device.vendor, device.id)
        state = self._cache.get(key)
        if state is not None and _identity(state.device) != _identity(device):
            if device.id not in self._left_out:
                self._left_out.add(device.id)
                log.error(
                    "device %s is left out: its topic %s is that of device %s. Set another one in devices.%s.topic",
                    device.id,
                    key,
                    state.device.id,
                    device.id,
                )
            return
        self._keys[account.name, device.id] = key
        listed = self._listed.setdefault(key, {})
        new = account.name not in listed
        listed.setdefault(account.name, Listed(device)).device = device
        if state is None:
            log.info("found %s %r (%s)", key, device.name, device.model)
        elif state.account != account.name and self._accounts[state.account].up.is_set():
            if new:
                words = "device %s is in account %s already; account %s leaves it alone"
                log.info(words, key, state.account, account.name)
            return
        self._show(key, account.name)

    def _show(self, key: str, account: str) -> None:
        """Show a device as this account has it; what is known of it stays, whoever said it."""
        listed = self._listed[key][account]
        device = listed.device
        state = self._cache.get(key)
        if state is None or (state.device, state.account) != (device, account):
            self._publisher.mark_device(key)
        settings = self.settings(device.vendor, device.id)
        display = Display(
            self._config.stale_seconds(account, settings),
            settings.temperature_unit or self._config.temperature_unit,
            settings.raw,
        )
        state = self._cache.put(key, device, account, display)
        state.present, state.reason = listed.present, listed.reason
        state.restore(self._counters.get(key, {}))

    def _gone(self, account: Account, device_id: str) -> None:
        key = self._keys.pop((account.name, device_id), None)
        state = self._cache.get(key) if key else None
        if key is None or state is None:
            return
        listed = self._listed[key]
        del listed[account.name]
        if listed and state.account != account.name:
            return
        if listed:
            heir = self._heir(key) or next(iter(listed))
            log.info(
                "%s is no longer in account %s; account %s has it too, and goes on with it", key, account.name, heir
            )
            self._show(key, heir)
            return
        log.info("%s is no longer in account %s; its topics are cleared", key, account.name)
        del self._listed[key]
        self.keep_counters()  # should it come back, they go on where they were
        self._cache.drop(key)
        self._publisher.withdraw(key, state.device)
        self._whereabouts.forget(key)
        self._turns.forget(key)

    def pass_on(self, account: Account) -> None:
        """An account is away for longer than a moment: what another one has as well goes on with that."""
        for key, state in self._cache.items():
            if state.account == account.name and (heir := self._heir(key)) is not None:
                words = "%s goes on with account %s, since account %s is away"
                self._turns.away(key, heir, words, key, heir, account.name)
                self._show(key, heir)

    def _heir(self, key: str) -> str | None:
        """An account that has the device and reaches it."""
        return next((name for name in self._listed[key] if self._accounts[name].up.is_set()), None)

    def _read(self, account: Account, reading: Reading) -> None:
        found = self._shown_by(account, reading.device_id)
        if found is None:
            return
        key, state = found
        new = state.merge(reading, self._clock())
        if new:
            log.info("%s sends what is not known (kept as raw): %s", key, ", ".join(sorted(new)))
        self._metrics.count("bridge", "readings")
        self._cache.mark(key)
        if state.available(self._clock()):
            self._whereabouts.here(key)

    def _confirmed(self, account: Account, confirmed: Confirmed) -> None:
        found = self._shown_by(account, confirmed.device_id)
        if found is None:
            return
        key, state = found
        if state.confirm(confirmed.values, confirmed.at, self._clock()):
            self._cache.mark(key)

    def _shown_by(self, account: Account, device_id: str) -> tuple[str, DeviceState] | None:
        """The key and state of a device that this account shows."""
        key = self._keys.get((account.name, device_id))
        state = self._cache.get(key) if key else None
        return None if key is None or state is None or state.account != account.name else (key, state)

    def _present(self, account: Account, device_id: str, online: bool, reason: str) -> None:  # noqa: FBT001 - an event's field
        key = self._keys.get((account.name, device_id))
        state = self._cache.get(key) if key else None
        if key is None or state is None:
            return
        listed = self._listed[key][account.name]
        listed.present, listed.reason = online, reason
        if state.account != account.name or (state.present, state.reason) == (online, reason):
            return
        if not online:
            self._whereabouts.away(key, "offline", "%s is offline%s", key, f": {reason}" if reason else "")
        elif not state.present:
            self._whereabouts.here(key)
        state.present, state.reason = online, reason
        self._cache.mark(key)

    # ------------------------------------------------------------------ what is set for devices, and what is kept

    def settings(self, vendor: str, device_id: str) -> DeviceSettings:
        """What is set for a device; from here on that section is known to be about one."""
        section = self._config.device_section(vendor, device_id)
        if section in self._unasked:
            del self._unasked[section]
            self._publisher.mark_info()
        return self._config.device(vendor, device_id)

    def unmatched(self) -> list[str]:
        """The sections about devices that there are not; none before every account has listed what it has."""
        return [*self._unasked] if all(account.listed for account in self._accounts.values()) else []

    def _tell_unmatched(self) -> None:
        sections = self.unmatched()
        if not sections or self._unmatched_told:
            return
        self._unmatched_told = True
        devices = [state.device for state in self._cache.values()]
        ids = {
            device_key(device.id): device.id
            for device in devices
            if self._config.device_section(device.vendor, device.id) is None
        }
        for section in sections:
            log.warning(
                "%s. Correct it or take it out of the configuration; `navibridge devices` lists the ids",
                unmatched_device(section, ids),
            )

    def keep_counters(self) -> None:
        """Keep the energy counters over a restart; what is away at the moment is kept as it was."""
        counters = self._counters | {key: state.counters() for key, state in self._cache.items() if state.counters()}
        if counters != self._counters:
            self._counters = counters
            self._store.save("counters", counters)


def _identity(device: Device) -> tuple[str, str]:
    """What tells a device from all others; its two accounts may spell its id otherwise."""
    return device.vendor, device_key(device.id)
