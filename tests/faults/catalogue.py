"""The table of faults: what goes wrong, what is promised all the same, how it shows, and how it heals."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import trustme
from faults.trial import Fault, account_says, all_away, device_away, read_only, whatever
from support import names
from support.oracle import connected
from support.plants import ATTRIBUTE
from support.scene import TIMING

from navibridge.demo.cloud import SimulatedCloud
from navibridge.simulation import RestFault

if TYPE_CHECKING:
    from support.oracle import Sample
    from support.scene import Scene

NAVILINK = ("navilink",)
MYSA = ("mysa",)
"""For faults that show differently, or not at all, at one of the vendors. What concerns the house alone is played with
NaviLink's devices. Of the others make no sense

    with Mysa       somebody else with its client id at AWS IoT, since each connection has a new one;
                    a value that is left out, since each is told in three ways
    with NaviLink   whatever is about the times of observations: none of its frames has one
"""

YEAR = 365 * 86400.0
LATE = 1.5


# --- the clouds -------------------------------------------------------------------------------------------------------


async def close_rest(made: Scene) -> None:
    await made.rest.close()


async def open_rest(made: Scene) -> None:
    await made.rest.open()


async def close_iot(made: Scene) -> None:
    await made.iot.close()


async def open_iot(made: Scene) -> None:
    await made.iot.open()


async def close_cloud(made: Scene) -> None:
    await made.rest.close()
    await made.iot.close()


async def open_cloud(made: Scene) -> None:
    await made.rest.open()
    await made.iot.open()


async def close_everything(made: Scene) -> None:
    await close_cloud(made)
    await made.mosquitto.stop()


async def open_everything(made: Scene) -> None:
    await made.mosquitto.start()
    await open_cloud(made)


def unresolvable(*options: str) -> Any:
    def inject(made: Scene) -> None:
        account = made.sections["accounts"]["home"]
        for option in options:
            account[option] = account[option].replace(made.cloud.host, "no-such-host.invalid")

    return inject


def trust_nobody(made: Scene) -> None:
    path = made.directory / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    made.sections["accounts"]["home"]["ca_file"] = str(path)


def trust(made: Scene) -> None:
    shutil.copy(made.cloud.ca_file, made.directory / "ca.pem")


async def impostor(made: Scene) -> None:
    other = made.notes["impostor"] = SimulatedCloud(())
    await other.start()
    made.iot.target = lambda: (other.host, other.port)


async def no_impostor(made: Scene) -> None:
    made.iot.target = lambda: (made.cloud.host, made.cloud.port)
    await made.notes["impostor"].stop()


def cloud_fault(name: str, value: Any, *, cut: bool = False) -> Any:
    def inject(made: Scene) -> None:
        setattr(made.cloud.faults, name, value)
        if cut:
            made.cloud.drop_all()

    return inject


def rest_fault(fault: RestFault | None, *, of: str = "sign_in", look: bool = False) -> Any:
    def inject(made: Scene) -> None:
        made.plant.rest_fault(getattr(made.plant, of), fault)
        made.notes["faulty since"] = time.monotonic()
        if look:
            made.plant.look_again()

    return inject


def refuse_tokens(*, renewals: bool) -> Any:
    def inject(made: Scene) -> None:
        made.sections["accounts"]["home"]["sign_ins"] = 4
        made.plant.rest_fault(made.plant.listing, RestFault(401, {"code": 401, "message": "Unauthorized"}))
        if not renewals:
            made.plant.refuse_renewals()

    return inject


def few_sign_ins(most: int) -> Any:
    def look(made: Scene) -> None:
        assert made.plant.sign_ins() <= most, f"{made.plant.sign_ins()} sign-ins"

    return look


def few_requests(most: int) -> Any:
    def look(made: Scene) -> None:
        asked = made.plant.requests(made.plant.sign_in)
        assert asked <= most, f"asked {asked} times"

    return look


def expire_tokens(made: Scene) -> None:
    made.plant.expire_tokens()
    made.plant.look_again()


def expire_credentials(made: Scene) -> None:
    made.plant.expire_credentials()
    made.cloud.drop_all()


async def take_over_again(made: Scene) -> None:
    for _ in range(3):
        await made.reach(lambda: made.cloud.broker(made.plant.simulator.vendor).clients, 10, "no link")
        made.plant.take_over(made.cloud)
        await asyncio.sleep(0.3)  # how often it happens is part of the fault


def poison(made: Scene) -> None:
    ident = made.device.rpartition("_")[2]
    made.plant.policy(lambda topic_filter: ident not in topic_filter)


def only_others(made: Scene, sample: Sample) -> bool:
    return sample.shown == made.others


async def others_stay(made: Scene) -> None:
    begin = time.monotonic()
    await asyncio.sleep(4)  # longer than the timeout would let a dead link pass for a living one
    samples = [sample for sample in made.oracle.samples if sample.at > begin]
    assert all(sample.shown == made.others for sample in samples), "the others went away"
    assert made.consumer.document("bridge/account/home/state")["state"] == "online"


def all_stay(made: Scene) -> None:
    begin = made.oracle.samples[-1].at - 4
    assert all(all_shown(made, sample) for sample in made.oracle.samples if sample.at > begin), "something went away"


# --- the broker -------------------------------------------------------------------------------------------------------


async def restart_broker(made: Scene) -> None:
    await made.mosquitto.restart(keep=False)


async def stop_broker(made: Scene) -> None:
    await made.mosquitto.stop()


async def lose_power(made: Scene) -> None:
    await made.mosquitto.stop(kill=True)


async def start_broker(made: Scene) -> None:
    await made.mosquitto.start()


async def forget_and_start(made: Scene) -> None:
    await made.mosquitto.restart(keep=False)


def credentials(made: Scene) -> None:
    made.sections["broker"] |= {"username": "bridge", "password": "the-right-one"}


async def nothing_shown(made: Scene) -> None:
    await asyncio.sleep(2)  # how long it lasts is part of the fault
    assert not any(sample.shown for sample in made.oracle.samples), "something is shown"


def unknown_name(made: Scene) -> None:
    name = made.notes["name"] = f"broker-{made.lan.port}.invalid"
    names.ADDRESSES[name] = None
    made.sections["broker"]["host"] = name


def known_name(made: Scene) -> None:
    names.ADDRESSES[made.notes["name"]] = made.mosquitto.host


def trust_another_broker(made: Scene) -> None:
    path = made.directory / "broker-ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    made.sections["broker"]["tls"] = {"ca_file": str(path)}


def trust_the_broker(made: Scene) -> None:
    assert made.mosquitto.ca_file is not None
    shutil.copy(made.mosquitto.ca_file, made.directory / "broker-ca.pem")


async def mend_password(made: Scene) -> None:
    made.mosquitto.users["bridge"] = "the-right-one"
    await made.mosquitto.restart(keep=True)


def flap(made: Scene) -> None:
    made.lan.lifetime = 0.3
    made.lan.cut()


def steady(made: Scene) -> None:
    made.lan.lifetime = None


async def same_client_id(made: Scene) -> None:
    for _ in range(3):
        async with connected(made.mosquitto, identifier="navibridge-navibridge"):
            await asyncio.sleep(0.2)


async def announced(made: Scene) -> None:
    """Wait until all has been announced: what a device tells of itself at the start comes little by little."""
    topics = [f"homeassistant/device/navibridge_{device}/config" for device in made.plant.devices]
    await made.reach(
        lambda: time.monotonic() - max(made.consumer.arrived.get(topic, time.monotonic()) for topic in topics) > LATE,
        10,
        "it is announced again and again",
    )


async def births(made: Scene) -> None:
    await announced(made)
    begin = made.notes["birth"] = time.monotonic()
    for word in ("offline", "online", "online"):
        await made.publish("homeassistant/status", word)
    topics = [f"navibridge/{device}/state" for device in made.plant.devices]
    topics += [f"homeassistant/device/navibridge_{device}/config" for device in made.plant.devices]
    await made.reach(
        lambda: all(made.consumer.arrived.get(topic, 0.0) > begin for topic in topics), 1.0, "not all is fresh"
    )


async def retained_command(made: Scene) -> None:
    _, (topic, payload) = made.order({ATTRIBUTE: made.plant.value(40)})
    await made.publish(topic, payload, retain=True)
    await made.mosquitto.restart(keep=True)
    await made.reach(lambda: made.consumer.connected and topic not in made.consumer.topics, 8, "it is still there")
    await made.shown()
    await made.publish(topic, payload, retain=True)


async def never_carried_out(made: Scene) -> None:
    # The first one was live: the broker hands a message that is just published to those subscribed as an ordinary one.
    assert sum(made.plant.effects().values()) <= 2, made.plant.effects()


# --- devices ----------------------------------------------------------------------------------------------------------


def device_fault(name: str, value: Any = True) -> Any:
    return lambda made: setattr(made.plant.faults(made.device), name, value)


def silence(made: Scene) -> None:
    made.plant.silence(made.device)


def speak(made: Scene) -> None:
    made.plant.silence(made.device, silent=False)


def garble(made: Scene) -> None:
    made.plant.garble(made.device)


def speak_clearly(made: Scene) -> None:
    made.plant.garble(made.device, garbled=False)


def die(made: Scene) -> None:
    made.plant.die(made.device)


def puzzle(made: Scene) -> None:
    made.plant.puzzle(made.device)


def unplug(made: Scene) -> None:
    made.plant.unplug(made.device)


def plug_in(made: Scene) -> None:
    made.plant.plug_in(made.device)


def rename(made: Scene) -> None:
    made.plant.rename(made.device, "Cellar, renamed")
    made.plant.look_again()


async def new_name(made: Scene) -> None:
    topic = f"homeassistant/device/navibridge_{made.device}/config"
    await made.reach(lambda: b"Cellar, renamed" in made.consumer.topics.get(topic, b""), 12, "not renamed")


def remove(made: Scene) -> None:
    gone = made.notes["gone"] = made.device
    made.plant.remove(gone)
    made.plant.look_again()


def gone_from_view(made: Scene, sample: Sample) -> bool:
    return made.notes["gone"] not in sample.shown


async def no_ghost(made: Scene) -> None:
    gone = made.notes["gone"]
    await made.reach(
        lambda: not [topic for topic in made.consumer.topics if gone in topic],
        25,
        "its retained topics are there still",
    )


def add(made: Scene) -> None:
    made.notes["new"] = made.plant.add()
    made.plant.look_again()


def new_is_shown(made: Scene, sample: Sample) -> bool:
    return made.notes["new"] in sample.shown


def exchange(made: Scene) -> None:
    add(made)
    remove(made)


async def out_of_order(made: Scene) -> None:
    for _ in range(6):
        old = made.plant.frame(made.device)
        await asyncio.sleep(LATE)
        made.plant.tell(made.device, old)


def silent_and_untold(made: Scene) -> None:
    silence(made)
    made.plant.faults(made.device).untold = True


def change_and_speak(made: Scene) -> None:
    """Somebody changes what no status tells, and then the device speaks again; the REST service lags behind."""
    made.plant.change_what_no_status_tells(made.device)  # type: ignore[attr-defined]
    made.plant.faults(made.device).silent = False


def tell_all(made: Scene) -> None:
    faults = made.plant.faults(made.device)
    faults.stale = faults.untold = False


async def change_between_links(made: Scene) -> None:
    """Somebody changes what no status tells in the moment in which the link is away; the REST service lags behind."""
    made.plant.thermostat(made.device).press()  # type: ignore[attr-defined]
    await asyncio.sleep(2)  # until the service shows a report of a device that has been heard ever since
    faults = made.plant.faults(made.device)
    faults.stale = faults.untold = True
    made.cloud.drop_all()
    made.plant.change_what_no_status_tells(made.device)  # type: ignore[attr-defined]
    await asyncio.sleep(0.1)
    faults.untold = False


def untold_and_unread(made: Scene) -> None:
    made.plant.faults(made.device).untold = True
    rest_fault(RestFault(500, {"code": 500}), of="states")(made)


def told_and_read(made: Scene) -> None:
    made.plant.faults(made.device).untold = False
    rest_fault(None, of="states")(made)


def own_clock(by: float) -> Any:
    return device_fault("clock_offset", by)


def rest_clock(by: int) -> Any:
    async def inject(made: Scene) -> None:
        made.plant.simulator.rest_manners.ahead = by  # type: ignore[attr-defined]
        await (close_iot if by else open_iot)(made)

    return inject


def from_the_future(made: Scene) -> None:
    """The last that is heard of the device bears the time of tomorrow morning."""
    silence(made)
    made.plant.tell_batch(made.device, made.plant.batch(made.device, ahead=8 * 3600.0))  # type: ignore[attr-defined]


async def from_the_past(made: Scene) -> None:
    """What the device measured before it fell silent arrives only now, in pieces."""
    begin = made.oracle.samples[-1].at
    for age in range(6, 14):
        made.plant.tell_batch(made.device, made.plant.batch(made.device, ahead=-age))  # type: ignore[attr-defined]
        await asyncio.sleep(0.2)  # each of them might wake it up
    assert not any(made.device in sample.shown for sample in made.oracle.samples if sample.at > begin), "woken up"


def clock(by: float, *, silent: bool = False) -> Any:
    def inject(made: Scene) -> None:
        made.skew = by
        if silent:
            made.plant.silence(made.device)

    return inject


def nothing(_: Scene) -> None:
    pass


# --- commands ---------------------------------------------------------------------------------------------------------


def expecting(*verdicts: str, shown: bool = True, limit: float = 12.0, **extra: Any) -> Any:
    """Send a command; it has one of these verdicts, one alone, and what is shown in the end is the truth."""

    async def during(made: Scene) -> None:
        name = await made.command({ATTRIBUTE: made.plant.value(33)}, **extra)
        result = await made.verdict(name, limit)
        assert result["verdict"] in verdicts, result
        made.notes.setdefault("names", []).append(name)
        if shown:
            await truth_is_shown(made)

    return during


async def truth_is_shown(made: Scene) -> None:
    since = made.oracle.look().at

    def true() -> bool:
        return all(made.oracle.untrue(device, since) == [] for device in made.plant.devices)

    await made.reach(true, 8, f"the truth {made.plant.truth()} is not what is shown")


async def one_verdict_each(made: Scene) -> None:
    for name in made.notes["names"]:
        assert len(made.verdicts(name)) == 1, (name, made.verdicts(name))
    assert max(made.plant.effects().values(), default=0) <= 1, f"an effect twice: {made.plant.effects()}"


async def send_only(made: Scene) -> None:
    made.notes["names"] = [await made.command({ATTRIBUTE: made.plant.value(33)})]


def then(*verdicts: str) -> Any:
    async def after(made: Scene) -> None:
        for name in made.notes["names"]:
            result = await made.verdict(name)
            assert result["verdict"] in verdicts, result
        await truth_is_shown(made)
        await one_verdict_each(made)

    return after


def told(*verdicts: str) -> Any:
    async def after(made: Scene) -> None:
        for name in made.notes["names"]:
            result = await made.verdict(name)
            assert result["verdict"] in verdicts, result
        await one_verdict_each(made)

    return after


async def too_old(made: Scene) -> None:
    made.notes["names"] = [await made.command({ATTRIBUTE: made.plant.value(33)}, ttl=1)]
    result = await made.verdict(made.notes["names"][0], 3)
    assert result["verdict"] == "expired", result


async def not_carried_out(made: Scene) -> None:
    await one_verdict_each(made)
    assert not made.plant.effects()


async def burst(made: Scene) -> None:
    orders = [made.order({ATTRIBUTE: made.plant.value(number % 40)}) for number in range(1000)]
    await made.publish_all([message for _, message in orders])
    names = {name for name, _ in orders}
    await made.reach(lambda: len(made.consumer.verdicts) >= 1000, 20, "not 1000 verdicts")
    told = [result["id"] for result in made.consumer.verdicts]
    assert len(told) == 1000, f"{len(told)} verdicts"
    assert set(told) == names
    await truth_is_shown(made)


async def two_publishers(made: Scene) -> None:
    async def one(first: int) -> list[str]:
        names = []
        for number in range(first, 40, 2):
            device = made.plant.devices[number // 2 % 2]
            names.append(await made.command({ATTRIBUTE: made.plant.value(number)}, device))
        return names

    first, second = await asyncio.gather(one(0), one(1))
    names = [*first, *second]
    for name in names:
        await made.verdict(name)
    assert len(made.consumer.verdicts) == len(names)
    await truth_is_shown(made)


async def verdict_outlives_the_broker(made: Scene) -> None:
    await send_only(made)
    await made.reach(made.plant.effects, 5, "it is not sent")
    await made.mosquitto.restart(keep=False)


async def link_breaks_meanwhile(made: Scene) -> None:
    await send_only(made)
    await made.reach(made.plant.effects, 5, "it is not sent")
    made.cloud.drop_all()


async def stop_in_the_midst(made: Scene) -> None:
    made.plant.silence(made.device)
    orders = [made.order({ATTRIBUTE: made.plant.value(number)}) for number in range(30)]
    await made.publish_all([message for _, message in orders])
    await made.reach(lambda: len(made.consumer.verdicts) >= 28, 5, "not all have been taken in")
    begin = time.monotonic()
    await made.stop()
    took = time.monotonic() - begin
    assert took < 3, f"stopping took {took:.1f} s"
    for name, _ in orders:
        await made.verdict(name, 2)
        assert len(made.verdicts(name)) == 1
    assert made.consumer.says("bridge/state") == "offline"


# --- the machine ------------------------------------------------------------------------------------------------------


def all_shown(made: Scene, sample: Sample) -> bool:
    return set(made.plant.devices) <= sample.shown


def no_directory(made: Scene) -> None:
    made.state_directory.write_text("a file stands where the directory should")


def start_without_directory(made: Scene) -> None:
    no_directory(made)
    made.start_program()


def says_unusable(made: Scene) -> None:
    still_running(made)
    assert "state can not be" in made.program_log, made.program_log


def lose_directory(made: Scene) -> None:
    shutil.rmtree(made.state_directory)
    no_directory(made)
    assert made.bridge is not None


async def start_anew(made: Scene) -> None:
    await made.stop()
    made.start()


async def kill(made: Scene) -> None:
    await made.end_program(signal.SIGKILL)


def start_program(made: Scene) -> None:
    made.start_program()


def full_disk(made: Scene) -> None:
    made.start_program(RLIMIT_FSIZE=0)


def closed_directory(made: Scene) -> None:
    made.state_directory.mkdir(mode=0o555)
    made.start_program(powerless=True)


def says_closed(made: Scene) -> None:
    still_running(made)
    assert "state can not be written" in made.program_log, made.program_log
    assert not [*made.state_directory.iterdir()], "it was written to"


async def kill_while_writing(made: Scene) -> None:
    await kill(made)
    kept = made.notes["kept"] = [*made.state_directory.glob("*.json")]
    assert kept
    for path in kept:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        path.with_suffix(".4711.new").write_bytes(content[:10])


def set_aside(made: Scene) -> None:
    still_running(made)
    for path in made.notes["kept"]:
        assert path.with_suffix(".bad").exists(), f"{path.name} is not set aside"
        assert f"{path.name} is damaged" in made.program_log
    few_sign_ins(2)(made)


def break_configuration(made: Scene) -> None:
    (made.directory / "config.yaml").write_text("accounts: {this is: [no configuration")


def still_running(made: Scene) -> None:
    assert made.program is not None
    assert made.program.poll() is None, made.program_log


async def says_full(made: Scene) -> None:
    still_running(made)


STOPS_WITHIN = 4.0
"""Seconds; two of them are for the goodbye."""


async def terminate(made: Scene) -> None:
    code = await made.end_program(signal.SIGTERM)
    assert code == 0, code
    await made.reach(lambda: made.consumer.says("bridge/state") == "offline", 2, "no goodbye")


async def terminate_in_the_midst(made: Scene) -> None:
    """Hundreds of commands are on their way, and every line breaks in the moment of the signal."""
    orders = [
        made.order({ATTRIBUTE: made.plant.value(number % 40)}, device)
        for device in made.plant.devices
        for number in range(150)
    ]
    await made.publish_all([message for _, message in orders])
    made.lan.cut()
    made.cloud.drop_all()
    began = time.monotonic()
    code = await made.end_program(signal.SIGTERM)
    assert code == 0, code
    assert time.monotonic() - began < STOPS_WITHIN, f"it took {time.monotonic() - began:.1f} s to stop"
    await made.reach(lambda: made.consumer.says("bridge/state") == "offline", 2, "neither goodbye nor last will")


async def away_and_silent(made: Scene) -> None:
    """The bridge stops; while it is away the first device falls silent and everything moves on."""
    await made.stop()
    made.plant.silence(made.device)
    await asyncio.sleep(6)  # longer than the timeout, so that what stands on the broker is untrue
    made.start()


def wrong_password(made: Scene) -> dict[str, Any]:
    account: dict[str, Any] = made.sections["accounts"]["home"]
    return account | {"email": "somebody@example.com", "password": "not-the-password"}


async def away_and_gone(made: Scene) -> None:
    """The same; the device is taken out of the account, and a second account has a wrong password."""
    await made.stop()
    made.notes["gone"] = made.device
    made.plant.remove(made.device)
    made.sections["accounts"]["cabin"] = wrong_password(made)
    await asyncio.sleep(6)  # as above
    made.start()


async def away_and_excluded(made: Scene) -> None:
    """The same; the user wants the device no more, and a second account has a wrong password."""
    await made.stop()
    made.notes["gone"] = made.device
    made.sections["devices"] = {made.device: {"exclude": True}}
    made.sections["accounts"]["cabin"] = wrong_password(made)
    await asyncio.sleep(6)  # as above
    made.start()


async def close_rest_and_cut(made: Scene) -> None:
    await made.rest.close()
    made.cloud.drop_all()


FAULTS: tuple[Fault, ...] = (
    # --- the cloud at start
    Fault(
        "REST absent at start",
        "reason within 5 s; back by itself",
        close_rest,
        open_rest,
        at_start=True,
        sign=account_says("refused"),
        recover=7,
    ),
    Fault(
        "IoT absent at start",
        "reason within 5 s; back by itself",
        close_iot,
        open_iot,
        at_start=True,
        sign=account_says("refused"),
        recover=7,
        vendors=NAVILINK,
    ),
    Fault(
        "IoT absent at start",
        "read by REST, with a reason within 5 s; back by itself",
        close_iot,
        open_iot,
        at_start=True,
        sign=read_only,
        during=truth_is_shown,
        recover=7,
        vendors=MYSA,
    ),
    Fault(
        "REST and IoT absent at start",
        "reason within 5 s; back by itself",
        close_cloud,
        open_cloud,
        at_start=True,
        sign=account_says("refused"),
        recover=7,
    ),
    Fault(
        "REST host not resolved", "reason within 5 s", unresolvable("api_url"), at_start=True, sign=account_says("dns")
    ),
    Fault(
        "IoT host not resolved",
        "reason within 5 s",
        unresolvable("iot_host"),
        at_start=True,
        sign=account_says("dns"),
        vendors=NAVILINK,
    ),
    Fault(
        "IoT host not resolved",
        "read by REST, with a reason within 5 s",
        unresolvable("iot_host"),
        at_start=True,
        sign=read_only,
        during=truth_is_shown,
        vendors=MYSA,
    ),
    Fault(
        "REST and IoT hosts not resolved",
        "reason within 5 s",
        unresolvable("api_url", "iot_host"),
        at_start=True,
        sign=account_says("dns"),
        hold=2,
        after=few_sign_ins(1),
    ),
    Fault(
        "certificate of REST not trusted",
        "reason within 5 s; back by itself",
        trust_nobody,
        trust,
        at_start=True,
        sign=account_says("tls"),
        recover=7,
    ),
    Fault(
        "certificate of IoT not trusted",
        "reason within 5 s; back by itself",
        impostor,
        no_impostor,
        at_start=True,
        sign=account_says("tls"),
        recover=7,
        vendors=NAVILINK,
    ),
    Fault(
        "certificate of IoT not trusted",
        "read by REST, with a reason within 5 s; back by itself",
        impostor,
        no_impostor,
        at_start=True,
        sign=read_only,
        during=truth_is_shown,
        recover=7,
        vendors=MYSA,
    ),
    Fault(
        "clock a year off, as the signer sees it",
        "reason within 5 s; back by itself",
        cloud_fault("clock_offset", YEAR),
        cloud_fault("clock_offset", 0.0),
        at_start=True,
        sign=account_says("clock"),
        recover=7,
        after=few_sign_ins(4),
        vendors=NAVILINK,
    ),
    Fault(
        "clock a year off, as the signer sees it",
        "read by REST, with a reason within 5 s; back by itself",
        cloud_fault("clock_offset", YEAR),
        cloud_fault("clock_offset", 0.0),
        at_start=True,
        sign=read_only,
        during=truth_is_shown,
        recover=7,
        after=few_sign_ins(1),
        vendors=MYSA,
    ),
    Fault(
        "IoT refuses every upgrade with 503",
        "reason within 5 s; back by itself",
        cloud_fault("refuse_upgrade", 503),
        cloud_fault("refuse_upgrade", None),
        at_start=True,
        sign=account_says("service"),
        recover=7,
        after=few_sign_ins(1),
        vendors=NAVILINK,
    ),
    Fault(
        "IoT refuses every upgrade with 503",
        "read by REST, with a reason within 5 s; back by itself",
        cloud_fault("refuse_upgrade", 503),
        cloud_fault("refuse_upgrade", None),
        at_start=True,
        sign=read_only,
        during=truth_is_shown,
        recover=7,
        after=few_sign_ins(1),
        vendors=MYSA,
    ),
    Fault(
        "IoT hangs at the upgrade",
        "reason within 20 s; back by itself",
        cloud_fault("hang_upgrade", value=True),
        cloud_fault("hang_upgrade", value=False, cut=True),
        at_start=True,
        sign=account_says("timeout"),
        within=20,
        recover=20,
        slow=True,
        vendors=NAVILINK,
    ),
    Fault(
        "IoT hangs at the upgrade",
        "read by REST, with a reason within 20 s; back by itself",
        cloud_fault("hang_upgrade", value=True),
        cloud_fault("hang_upgrade", value=False, cut=True),
        at_start=True,
        sign=read_only,
        within=20,
        recover=20,
        slow=True,
        vendors=MYSA,
    ),
    Fault(
        "REST accepts and never answers",
        "reason within 45 s; back by itself",
        lambda made: made.rest.freeze(),
        lambda made: made.rest.thaw(),
        at_start=True,
        sign=account_says("timeout"),
        within=45,
        recover=45,
        slow=True,
    ),
    Fault(
        "sign-in answers 500",
        "reason within 5 s; back by itself",
        rest_fault(RestFault(500, {"code": 500})),
        rest_fault(None),
        at_start=True,
        sign=account_says("service"),
        recover=7,
    ),
    Fault(
        "sign-in answers 429 with Retry-After",
        "not asked again before that time",
        rest_fault(RestFault(429, {}, headers={"Retry-After": "3"}, times=1)),
        nothing,
        at_start=True,
        sign=account_says("throttled"),
        recover=10,
        after=few_requests(2),
    ),
    Fault(
        "sign-in answers half a JSON document",
        "reason within 5 s; back by itself",
        rest_fault(RestFault(200, b'{"code":200,"da')),
        rest_fault(None),
        at_start=True,
        sign=account_says("service"),
        recover=7,
    ),
    Fault(
        "REST refuses every token, sign-ins go through",
        "reason within 5 s; one sign-in; back by itself",
        refuse_tokens(renewals=True),
        lambda made: made.plant.rest_fault(made.plant.listing, None),
        at_start=True,
        sign=account_says("declined"),
        hold=5,
        recover=7,
        after=few_sign_ins(1),
    ),
    Fault(
        "REST refuses every token, none is renewed",
        "four sign-ins, then patience",
        refuse_tokens(renewals=False),
        at_start=True,
        sign=account_says("throttled"),
        within=15,
        hold=3,
        after=few_sign_ins(4),
    ),
    Fault(
        "REST takes 3 s for each answer",
        "it is waited for",
        cloud_fault("rest_delay", 3.0),
        cloud_fault("rest_delay", 0.0),
        at_start=True,
        sign=account_says(),
        recover=15,
        after=few_sign_ins(1),
    ),
    # --- the cloud later on
    Fault(
        "gateway answers 502 in HTML, link up",
        "nobody notices",
        rest_fault(RestFault(502, "<html>", "text/html"), of="listing", look=True),
        hold=7,
        after=few_sign_ins(1),
        slow=True,
    ),
    Fault("access and refresh token void", "nobody notices; one sign-in", expire_tokens, hold=8, after=few_sign_ins(2)),
    Fault(
        "credentials expired at reconnect",
        "fresh values within 5 s; one sign-in",
        expire_credentials,
        nothing,
        sign=account_says(),
        recover=6,
        after=few_sign_ins(2),
        slow=True,
    ),
    Fault(
        "connection closed after 24 hours",
        "nobody notices",
        lambda made: made.cloud.drop_all(),
        hold=3,
        after=few_sign_ins(1),
    ),
    Fault(
        "outage of the cloud",
        "unavailable after the grace; fresh within 5 s of the first answer",
        close_cloud,
        open_cloud,
        sign=all_away,
        recover=7,
        hold=2,
    ),
    Fault(
        "link up 50 ms, down, up, down",
        "nothing untrue; at most 4 sign-ins",
        cloud_fault("close_after_connack", 0.05, cut=True),
        cloud_fault("close_after_connack", None),
        sign=account_says(),
        hold=5,
        recover=7,
        after=few_sign_ins(4),
    ),
    Fault(
        "client id taken over by another",
        "back each time",
        take_over_again,
        nothing,
        sign=whatever,
        recover=8,
        vendors=NAVILINK,
    ),
    Fault(
        "a forbidden topic that AWS hangs up for",
        "the others are shown and stay",
        poison,
        at_start=True,
        sign=only_others,
        within=20,
        after=others_stay,
        devices=3,
        slow=True,
        vendors=NAVILINK,
    ),
    Fault(
        "a forbidden topic that AWS hangs up for",
        "the others are shown and stay; REST tells of it",
        poison,
        hold=6,
        at_start=True,
        sign=all_shown,
        within=20,
        after=all_stay,
        devices=3,
        slow=True,
        vendors=MYSA,
    ),
    Fault(
        "deliveries stop while pings go on",
        "unavailable in time; fresh within 8 s",
        cloud_fault("stop_delivering", value=True),
        cloud_fault("stop_delivering", value=False),
        sign=all_away,
        within=6,
        recover=8,
        vendors=NAVILINK,
    ),
    Fault(
        "deliveries stop while pings go on",
        "nobody notices: REST tells",
        cloud_fault("stop_delivering", value=True),
        cloud_fault("stop_delivering", value=False),
        hold=7,
        recover=8,
        vendors=MYSA,
    ),
    Fault(
        "half-open line to AWS IoT",
        "unavailable in time; back by itself",
        lambda made: made.iot.freeze(),
        lambda made: made.iot.thaw(),
        sign=all_away,
        within=6,
        recover=20,
        vendors=NAVILINK,
    ),
    Fault(
        "half-open line to AWS IoT",
        "nobody notices: REST tells",
        lambda made: made.iot.freeze(),
        lambda made: made.iot.thaw(),
        hold=22,
        recover=20,
        # How long the AWS library waits for an answer is as in a real house, and so is this, in proportion.
        options={"timing": replace(TIMING, account_grace=30.0)},
        slow=True,
        vendors=MYSA,
    ),
    Fault("acknowledgements of AWS IoT missing", "nobody notices", cloud_fault("swallow_puback", value=True), hold=5),
    # --- the broker
    Fault(
        "broker absent at start",
        "everything within 2 s of the first attempt that is answered",
        stop_broker,
        start_broker,
        at_start=True,
        sign=whatever,
        during=nothing_shown,
        recover=4,
        vendors=NAVILINK,
    ),
    Fault(
        "broker takes connections and never answers, at start",
        "back by itself",
        lambda made: made.lan.freeze(),
        lambda made: made.lan.thaw(),
        at_start=True,
        sign=whatever,
        during=nothing_shown,
        recover=8,
        vendors=NAVILINK,
    ),
    Fault(
        "broker's host not resolved at start",
        "everything within 2 s of the first attempt that is answered",
        unknown_name,
        known_name,
        at_start=True,
        sign=whatever,
        during=nothing_shown,
        recover=4,
        vendors=NAVILINK,
    ),
    Fault(
        "broker's certificate not trusted at start",
        "everything within 2 s of the first attempt that is answered",
        trust_another_broker,
        trust_the_broker,
        at_start=True,
        sign=whatever,
        during=nothing_shown,
        recover=4,
        vendors=NAVILINK,
        options={"broker": {"tls": "server"}},
    ),
    Fault(
        "everything absent at start",
        "back by itself",
        close_everything,
        open_everything,
        at_start=True,
        sign=whatever,
        during=nothing_shown,
        recover=7,
        slow=True,
        vendors=NAVILINK,
    ),
    Fault(
        "broker restarted, remembering nothing",
        "everything again within 2 s of the first attempt that is answered",
        stop_broker,
        forget_and_start,
        sign=all_away,
        recover=3,
        vendors=NAVILINK,
    ),
    Fault(
        "broker restarted, remembering all",
        "nothing old is shown; fresh within 2 s of the first answer",
        stop_broker,
        start_broker,
        sign=all_away,
        hold=6,
        recover=3,
        vendors=NAVILINK,
    ),
    Fault(
        "broker restarted under 100 devices",
        "everything again within 2 s of the first attempt that is answered",
        stop_broker,
        forget_and_start,
        sign=all_away,
        recover=4,
        devices=100,
        options={"stale_after": 15.0},
        busy=True,
        slow=True,
        vendors=NAVILINK,
    ),
    Fault(
        "broker accepts and hangs",
        "unavailable in time; back by itself",
        lambda made: made.mosquitto.pause(),
        lambda made: made.mosquitto.resume(),
        sign=all_away,
        within=6,
        hold=5,
        recover=6,
        vendors=NAVILINK,
    ),
    Fault(
        "half-open line to the broker",
        "unavailable in time; back by itself",
        lambda made: made.lan.freeze(),
        lambda made: made.lan.thaw(),
        sign=all_away,
        within=8,
        recover=6,
        # Mosquitto looks after its clients' signs of life every few seconds, whatever the scale of the rest.
        options={"stale_after": 6.0},
        vendors=NAVILINK,
    ),
    Fault(
        "line to the broker flaps",
        "nothing untrue; back by itself",
        flap,
        steady,
        sign=all_away,
        hold=4,
        recover=4,
        vendors=NAVILINK,
    ),
    Fault(
        "broker refuses the login, later accepts",
        "back by itself",
        credentials,
        mend_password,
        at_start=True,
        sign=whatever,
        during=nothing_shown,
        recover=5,
        options={"broker": {"users": {"oracle": "eyes", "bridge": "another"}}},
        vendors=NAVILINK,
    ),
    Fault(
        "another client with the bridge's client id",
        "back each time",
        same_client_id,
        nothing,
        sign=whatever,
        recover=5,
        vendors=NAVILINK,
    ),
    Fault("Home Assistant restarts", "all topics fresh within 1 s", births, hold=1, vendors=NAVILINK),
    Fault(
        "a retained command",
        "cleared, refused, never replayed",
        retained_command,
        nothing,
        sign=whatever,
        recover=6,
        turning=False,
        after=never_carried_out,
        vendors=NAVILINK,
    ),
    # --- devices
    Fault(
        "device silent",
        "unavailable in time, the others stay",
        silence,
        speak,
        sign=device_away,
        within=5.5,
        others_stay=True,
        recover=8,
    ),
    Fault(
        "device speaks again after a silence, but not of all",
        "what it does not tell is unknown",
        silent_and_untold,
        tell_all,
        sign=device_away,
        within=5.5,
        others_stay=True,
        during=change_and_speak,
        hold=7,
        turning=False,
        recover=8,
        vendors=MYSA,
    ),
    Fault(
        "changed at the device while the link was away for a moment, REST lags",
        "what nobody told is unknown in time, the rest stays",
        change_between_links,
        tell_all,
        hold=7,
        turning=False,
        recover=8,
        vendors=MYSA,
    ),
    Fault(
        "changed at the device and not told, REST away",
        "what no status tells is unknown in time, the rest stays",
        untold_and_unread,
        told_and_read,
        hold=12,
        recover=8,
        vendors=MYSA,
    ),
    Fault("device silent, REST goes on", "nobody notices: REST tells", device_fault("silent"), hold=7, vendors=MYSA),
    Fault(
        "device loses its connection",
        "unavailable within 2 s, the others stay",
        unplug,
        plug_in,
        sign=device_away,
        within=2,
        others_stay=True,
    ),
    Fault(
        "device dies without a word",
        "unavailable in time, the others stay",
        die,
        plug_in,
        sign=device_away,
        within=5.5,
        others_stay=True,
    ),
    Fault("device renamed", "announced anew, nobody else notices", rename, hold=0, during=new_name),
    Fault(
        "device removed",
        "unavailable, then no ghost is left",
        remove,
        sign=gone_from_view,
        within=20,
        after=no_ghost,
        others_stay=True,
        devices=3,
    ),
    Fault("device added", "shown", add, sign=new_is_shown, within=15),
    Fault(
        "device replaced",
        "the new one shown, no ghost of the old one",
        exchange,
        sign=new_is_shown,
        within=15,
        after=no_ghost,
        slow=True,
    ),
    Fault(
        "frames garbled",
        "unavailable in time, the others stay",
        garble,
        speak_clearly,
        sign=device_away,
        within=5.5,
        others_stay=True,
        recover=8,
    ),
    Fault("frames garbled, REST goes on", "nobody notices: REST tells", device_fault("garbled"), hold=7, vendors=MYSA),
    Fault("every frame twice", "nobody notices", device_fault("duplicate"), hold=4),
    Fault("frames late by 0.8 s", "nobody notices", cloud_fault("latency", 0.8), hold=6),
    Fault("frames out of order", "nothing older than the timeout", out_of_order),
    Fault("unknown fields and codes", "nobody notices", puzzle, hold=4),
    # --- the clock
    Fault("clock steps back by a year", "fresh within 3 s", clock(-YEAR), nothing, sign=whatever, recover=3, hold=6),
    Fault("clock steps ahead by a year", "fresh within 3 s", clock(YEAR), nothing, sign=whatever, recover=3, hold=2),
    Fault(
        "clock steps back, device silent",
        "unavailable in time all the same",
        clock(-YEAR, silent=True),
        sign=device_away,
        within=5.5,
        slow=True,
    ),
    # --- commands
    Fault(
        "acknowledgement dropped",
        "one verdict; the truth is shown",
        device_fault("drop_acks"),
        sign=whatever,
        turning=False,
        during=expecting("applied", "unconfirmed"),
        after=one_verdict_each,
    ),
    Fault(
        "acknowledgement late",
        "one verdict; the truth is shown",
        device_fault("late_acks", 1.0),
        sign=whatever,
        turning=False,
        during=expecting("applied"),
        after=one_verdict_each,
    ),
    Fault(
        "acknowledgement later than is waited for",
        "one verdict; the truth is shown",
        device_fault("late_acks", 3.0),
        sign=whatever,
        turning=False,
        during=expecting("applied", "unconfirmed"),
        hold=3,  # until it has come at last
        after=one_verdict_each,
    ),
    Fault(
        "acknowledgement twice",
        "one verdict; the truth is shown",
        device_fault("double_acks"),
        sign=whatever,
        turning=False,
        during=expecting("applied"),
        after=one_verdict_each,
    ),
    Fault(
        "acknowledgement contradicts",
        "refused; the truth is shown",
        device_fault("contradict_acks"),
        sign=whatever,
        turning=False,
        during=expecting("refused"),
        after=one_verdict_each,
    ),
    Fault(
        "command during an outage",
        "carried out once, within its time",
        close_cloud,
        open_cloud,
        sign=account_says(),
        during=send_only,
        recover=7,
        turning=False,
        after=then("applied"),
    ),
    Fault(
        "command during an outage of IoT, twice cut",
        "one verdict, one effect at most",
        close_iot,
        open_iot,
        sign=account_says(),
        during=send_only,
        recover=7,
        turning=False,
        after=then("applied"),
    ),
    Fault(
        "command older than its time to live",
        "expired; never carried out",
        close_cloud,
        open_cloud,
        sign=account_says(),
        during=too_old,
        recover=7,
        turning=False,
        after=not_carried_out,
    ),
    Fault(
        "command before the first state",
        "one verdict",
        silence,
        at_start=True,
        sign=only_others,
        within=10,
        turning=False,
        during=expecting("applied", "unconfirmed", "rejected", shown=False),
        after=one_verdict_each,
    ),
    Fault(
        "burst of 1000 commands",
        "a verdict for each; the truth is shown",
        sign=whatever,
        turning=False,
        during=burst,
        busy=True,
        # Mosquitto itself drops what a subscriber that is slow to acknowledge has not got by then.
        options={"broker": {"extra": ("max_queued_messages 10000",)}},
        vendors=NAVILINK,
    ),
    Fault(
        "two publishers at once",
        "a verdict for each; the truth is shown",
        sign=whatever,
        turning=False,
        during=two_publishers,
        vendors=NAVILINK,
    ),
    Fault(
        "broker restarts before the verdict",
        "the verdict comes all the same",
        device_fault("silent"),
        sign=whatever,
        turning=False,
        during=verdict_outlives_the_broker,
        after=told("unconfirmed"),
        vendors=NAVILINK,
    ),
    Fault(
        "link breaks before the verdict",
        "one verdict, one effect",
        device_fault("late_acks", 1.0),
        sign=whatever,
        turning=False,
        during=link_breaks_meanwhile,
        after=then("applied", "unconfirmed"),
    ),
    Fault(
        "stopped in the midst of everything",
        "verdicts for all, goodbye, within 3 s",
        sign=whatever,
        turning=False,
        during=stop_in_the_midst,
    ),
    # --- the machine
    Fault(
        "state_dir can not be used",
        "it works, and says so",
        start_without_directory,
        at_start=True,
        sign=all_shown,
        within=15,
        after=says_unusable,
        options={"stale_after": 30.0},
        program=True,
        vendors=NAVILINK,
    ),
    Fault("state_dir lost while running", "nobody notices", lose_directory, hold=3),
    Fault(
        "state_dir lost over a restart",
        "back by itself; one sign-in more",
        lose_directory,
        start_anew,
        sign=whatever,
        recover=8,
        after=few_sign_ins(2),
    ),
    Fault(
        "disk full",
        "it works, and goes on",
        full_disk,
        at_start=True,
        sign=all_shown,
        within=15,
        after=says_full,
        options={"stale_after": 30.0},
        program=True,
        vendors=NAVILINK,
    ),
    Fault(
        "state_dir can not be written to",
        "it works, and says so",
        closed_directory,
        at_start=True,
        sign=all_shown,
        within=15,
        after=says_closed,
        options={"stale_after": 30.0},
        program=True,
        vendors=NAVILINK,
    ),
    Fault(
        "kill -9",
        "unavailable at once; back without a sign-in",
        kill,
        start_program,
        sign=all_away,
        within=2,
        recover=10,
        after=few_sign_ins(1),
        options={"stale_after": 30.0},
        program=True,
    ),
    Fault(
        "kill -9 within writing, half a file is left",
        "set aside; back with one sign-in more",
        kill_while_writing,
        start_program,
        sign=all_away,
        within=2,
        recover=10,
        after=set_aside,
        options={"stale_after": 30.0},
        program=True,
    ),
    Fault(
        "SIGTERM",
        "goodbye and exit code 0 within 3 s; back without a sign-in",
        terminate,
        start_program,
        sign=all_away,
        within=2,
        recover=10,
        after=few_sign_ins(1),
        options={"stale_after": 30.0},
        program=True,
        vendors=NAVILINK,
    ),
    Fault(
        "SIGTERM under load, all lines breaking",
        "exit code 0 within 4 s, offline by goodbye or last will",
        terminate_in_the_midst,
        start_program,
        sign=all_away,
        within=2,
        recover=10,
        options={"stale_after": 30.0},
        program=True,
    ),
    Fault(
        "configuration broken while running",
        "nobody notices",
        break_configuration,
        hold=3,
        after=still_running,
        options={"stale_after": 30.0},
        program=True,
        vendors=NAVILINK,
    ),
    Fault(
        "device falls silent while the bridge is away",
        "its old values are not shown",
        away_and_silent,
        sign=only_others,
        within=8,
        hold=2,
    ),
    Fault(
        "device vanishes while the bridge is away",
        "its old values are not shown",
        away_and_gone,
        sign=gone_from_view,
        within=10,
        hold=4,
        devices=3,
    ),
    Fault(
        "device excluded, another account broken",
        "its old values are not shown",
        away_and_excluded,
        sign=gone_from_view,
        within=10,
        hold=4,
        devices=3,
        vendors=NAVILINK,
    ),
    Fault(
        "connection closed while REST is away",
        "nobody notices",
        close_rest_and_cut,
        hold=4,
    ),
    Fault(
        "clock steps back a little, device silent",
        "unavailable in time all the same",
        clock(-3.0, silent=True),
        sign=device_away,
        within=5.5,
    ),
    Fault(
        "a device's clock an hour ahead",
        "nobody notices, nor when it is set",
        own_clock(3600.0),
        own_clock(0.0),
        hold=5,
        vendors=MYSA,
    ),
    Fault(
        "a device's clock a year ahead",
        "nobody notices, nor when it is set",
        own_clock(YEAR),
        own_clock(0.0),
        hold=5,
        vendors=MYSA,
    ),
    Fault(
        "REST's clock an hour ahead, IoT away",
        "read all the same; fresh when it is set",
        rest_clock(3600),
        rest_clock(0),
        sign=read_only,
        during=truth_is_shown,
        hold=4,
        recover=7,
        vendors=MYSA,
    ),
    Fault(
        "readings from the future, device silent",
        "unavailable in time all the same",
        from_the_future,
        speak,
        sign=device_away,
        within=5.5,
        others_stay=True,
        vendors=MYSA,
    ),
    Fault(
        "readings that come late, device silent",
        "they wake nobody up",
        silence,
        speak,
        sign=device_away,
        within=5.5,
        during=from_the_past,
        others_stay=True,
        recover=8,
        vendors=MYSA,
    ),
    Fault(
        "broker loses its power, remembering an earlier moment",
        "nothing old for longer than it takes to connect again",
        lose_power,
        start_broker,
        sign=all_away,
        hold=6,
        recover=3,
        forgiven=2.0,
        options={"broker": {"extra": ("autosave_interval 1", "autosave_on_changes true")}},
        vendors=NAVILINK,
    ),
    Fault(
        "device leaves one value out of all it says",
        "that value is unknown in time, the others stay",
        lambda made: made.plant.leave_out(made.device),
        sign=lambda made, _: made.consumer.document(f"{made.device}/state").get(ATTRIBUTE) is None,
        within=5.5,
        hold=2,
        others_stay=True,
        vendors=NAVILINK,
    ),
)
