"""What a simulated heat pump says: its truth, read off the sensors and written in the vendor's fields.

`readings` and `features` list the fields by their wire names, in physical units; the codecs of the attribute table,
read backwards, make raw numbers of them. So there is one table of units, and a report can not disagree with it. Pure.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from navibridge.model import Sort
from navibridge.vendors.navilink.heat_pump import HEAT_PUMP
from navibridge.vendors.navilink.simulated.physics import DAY, HOUR, Phase, Setting, Threshold, Usage, ordinal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from navibridge.model import Raw
    from navibridge.vendors.navilink.simulated.physics import Heater

NOT_IN_USE: Final = 35.0  # °C; what a threshold reads that the present mode does not use

TREND_EVENTS: Final = (
    "cumulatedOccNumAbDisSucTmp",
    "cumulatedOpTimeDrShed",
    "cumulatedOccNumHpo",
    "cumulatedOpTimeDrAdvLoadUp",
    "cumulatedOccNumAbDisTmp",
    "cumulatedOpTimeDrCpp",
    "numOffRostProtectBurn",
    "cumulatedOpTimeDrGridEmg",
    "cumulatedOccNumDryFire",
    "cumulatedOpTimeDrLoadUp",
    "cumulatedOccNumWtrOvrFlow",
    "cumulatedOccNumAbSucTmp",
    "cumulatedOccNumEco",
    "cumulatedOccNumConOvrFlow",
)

NEWER_FIRMWARE: Final = frozenset({
    "dhwOperationBusy", "heatMinOpTemperature", "freezeProtectionTempMin", "freezeProtectionTempMax",
    "recircOperationMode", "recircPumpOperationStatus", "recircHotBtnReady", "recircOperationReason",
    "recircErrorStatus", "recircOperationBusy", "recircReservationUse", "recircTempSetting", "recircTemperature",
    "recircFaucetTemperature", "recircDhwFlowRate",
})  # fmt: skip
"""What a report of the older firmware, the captured one, does not carry."""


def _encoders(form: str) -> dict[str, tuple[Sort, Callable[[Any], Raw]]]:
    """The encoder of every field of a form; a number before a switch where several rows read the same field."""
    found: dict[str, tuple[Sort, Callable[[Any], Raw]]] = {}
    for attribute in HEAT_PUMP.attributes:
        sort = attribute.quantity.sort
        for wire in attribute.reads:
            wanted = sort is Sort.NUMBER or (sort is Sort.FLAG and wire.name not in found)
            if wire.form == form and wanted:
                found[wire.name] = sort, wire.codec.encode
    return found


_STATUS: Final = _encoders("status")
_FEATURE: Final = _encoders("feature")
_PACKED: Final = tuple(
    (attribute.key, wire) for attribute in HEAT_PUMP.attributes for wire in attribute.reads if wire.form == "packed"
)


def status(heater: Heater) -> dict[str, Raw]:
    """The 102 fields of a JSON status."""
    return {name: _encode(_STATUS, name, value) for name, value in readings(heater).items()}


def feature(heater: Heater) -> dict[str, Raw]:
    """The fields of a device information."""
    return {name: _encode(_FEATURE, name, value) for name, value in features(heater).items()}


def packed_status(heater: Heater) -> dict[str, int]:
    """The fields of a packed status record; its units are other ones, its values the same.

    What the JSON status says is decoded and encoded anew, so that both dialects tell the same tale.
    """
    known = HEAT_PUMP.decode("status", status(heater)).values
    fields = {wire.name: wire.codec.encode(known[key]) for key, wire in _PACKED if known.get(key) is not None}
    return fields | {"device_connected": 2 if heater.state.activity else 1}


def _encode(encoders: Mapping[str, tuple[Sort, Callable[[Any], Raw]]], name: str, value: Any) -> Raw:
    """A number and a switch by their row's codec; a code or an option is the number that travels already."""
    sort, encode = encoders.get(name, (None, None))
    coded = sort is Sort.FLAG and not isinstance(value, bool | None)
    return value if encode is None or coded else encode(value)


def readings(heater: Heater) -> dict[str, Any]:
    """Every status field by its wire name (`docs/protocol/navilink.md` 7), in the order of the newer firmware.

    Measured numbers are in canonical units (energies in kWh) and switches are true or false, to be encoded by the
    attribute table; codes are the numbers that travel.
    """
    state = heater.state
    away = state.setting is Setting.VACATION
    remaining = math.ceil((state.vacation_until - state.time) / DAY) if away else state.vacation_days
    program, target = heater.thresholds(), heater.target
    pumping = state.time < state.recirculation_until
    return {
        "command": 0,
        "outsideTemperature": 0.0,
        "specialFunctionStatus": 1,
        "didReload": False,
        "errorCode": state.error_code,
        "subErrorCode": state.sub_error_code,
        "operationMode": state.activity,
        "operationBusy": bool(state.activity),
        "freezeProtectionUse": True,
        "dhwUse": state.flow > 0,
        "dhwUseSustained": state.flowing_for > 60,  # noqa: PLR2004 - a minute is a long draw
        "dhwTemperature": math.floor(state.upper * 2) / 2,
        "dhwTemperatureSetting": state.setpoint,
        "programReservationUse": state.reservations_on,
        "smartDiagnostic": 0,
        "faultStatus1": 0,
        "faultStatus2": 0,
        "wifiRssi": 57 + int(state.time // 60) % 4,
        "ecoUse": True,
        "dhwTargetTemperatureSetting": state.setpoint,
        "tankUpperTemperature": state.upper,
        "tankLowerTemperature": state.lower,
        "dischargeTemperature": state.discharge,
        "suctionTemperature": state.suction,
        "evaporatorTemperature": state.evaporator,
        "ambientTemperature": state.ambient,
        "targetSuperHeat": 5.0,
        "compUse": state.compressor,
        "eevUse": state.phase is not Phase.IDLE,
        "evaFanUse": state.fan,
        "currentInstPower": round(state.shown_power),
        "shutOffValveUse": False,
        "conOvrSensorUse": False,
        "wtrOvrSensorUse": False,
        "dhwChargePer": round(heater.charge),
        "drEventStatus": state.demand_event,
        "vacationDaySetting": state.vacation_days,
        "vacationDayElapsed": remaining,
        "freezeProtectionTemperature": state.freeze_threshold,
        "antiLegionellaUse": state.anti_legionella,
        "antiLegionellaPeriod": state.anti_legionella_period,
        "antiLegionellaOperationBusy": state.anti_legionella_running,
        "programReservationType": 0,
        "dhwOperationSetting": int(state.setting),
        "temperatureType": 2 if heater.model.fahrenheit else 1,
        "tempFormulaType": 1,
        "errorBuzzerUse": True,
        "currentHeatUse": heater.planned,
        "currentInletTemperature": 0.0,
        "currentStatenum": int(state.phase),
        "targetFanRpm": 550 if state.fan else 0,
        "currentFanRpm": round(state.fan_rpm),
        "fanPwm": round(state.fan_rpm * 2.66),
        "dhwTemperature2": 0.0,
        "currentDhwFlowRate": state.flow,
        "mixingRate": 0,
        "eevStep": round(state.valve_step),
        "currentSuperHeat": state.superheat,
        "heatUpperUse": state.upper_element,
        "heatLowerUse": state.lower_element,
        "scaldUse": True,
        "airFilterAlarmUse": state.filter_hours > 0,
        "airFilterAlarmPeriod": state.filter_hours,
        "airFilterAlarmElapsed": int(state.filter_seconds // HOUR),
        "cumulatedOpTimeEvaFan": int(state.fan_seconds // HOUR),
        "cumulatedDhwFlowRate": int(state.drawn_litres),
        "touStatus": int(state.tou),
        **_thresholds("hp", "Upper", program.hp_upper, target),
        **_thresholds("hp", "Lower", program.hp_lower, target),
        **_thresholds("he", "Upper", program.he_upper, target),
        **_thresholds("he", "Lower", program.he_lower, target),
        **_differences("hp", "Upper", program.hp_upper),
        **_differences("hp", "Lower", program.hp_lower),
        **_differences("he", "Upper", program.he_upper),
        **_differences("he", "Lower", program.he_lower),
        "drOverrideStatus": 0,
        "touOverrideStatus": state.tou_override,
        "totalEnergyCapacity": heater.total_capacity / 1000,
        "availableEnergyCapacity": heater.deficit / 1000,
        "dhwOperationBusy": bool(state.activity),
        "heatMinOpTemperature": 35.0,
        "freezeProtectionTempMin": 6.0,
        "freezeProtectionTempMax": 10.0,
        "recircOperationMode": state.recirculation_mode,
        "recircPumpOperationStatus": pumping if heater.model.recirculation else None,
        "recircHotBtnReady": heater.model.recirculation and not pumping,
        "recircOperationReason": 0,
        "recircErrorStatus": 0,
        "recircOperationBusy": pumping,
        "recircReservationUse": state.recirculation_on if heater.model.recirculation else None,
        "recircTempSetting": 0.0,
        "recircTemperature": state.upper if pumping else 0.0,
        "recircFaucetTemperature": 0.0,
        "recircDhwFlowRate": 0.0,
    }


def features(heater: Heater) -> dict[str, Any]:
    """Every field of the device information (`docs/protocol/navilink.md` 8), as `readings` gives the status."""
    model = heater.model
    return {
        "countryCode": 3,
        "modelTypeCode": 513,
        "controlTypeCode": 100,
        "volumeCode": model.litres,
        "controllerSwVersion": 167838208,
        "panelSwVersion": 34013440,
        "wifiSwVersion": 60711,
        "controllerSwCode": 33556241,
        "panelSwCode": 268435985,
        "wifiSwCode": 268435761,
        "controllerSerialNumber": model.serial,
        "powerUse": True,
        "holidayUse": True,
        "programReservationUse": True,
        "dhwUse": True,
        "dhwTemperatureSettingUse": 2,
        "dhwTemperatureMin": model.low,
        "dhwTemperatureMax": model.high,
        "smartDiagnosticUse": True,
        "wifiRssiUse": True,
        "temperatureType": 2 if model.fahrenheit else 1,
        "tempFormulaType": 1,
        "energyUsageUse": True,
        "freezeProtectionUse": True,
        "freezeProtectionTempMin": 6.0,
        "freezeProtectionTempMax": 10.0,
        "mixingValueUse": False,
        "mixingValveUse": False,
        "drSettingUse": True,
        "antiLegionellaSettingUse": True,
        "hpwhUse": True,
        "dhwRefillUse": True,
        "ecoUse": True,
        "electricUse": True,
        "heatpumpUse": True,
        "energySaverUse": True,
        "highDemandUse": True,
        "recirculationUse": model.recirculation,
        "recircReservationUse": model.recirculation,
        "title24Use": False,
        "recircSwVersion": 131073 if model.recirculation else 0,
        "recircModelTypeCode": 1 if model.recirculation else 0,
        "recircTemperatureMin": model.low if model.recirculation else 0.0,
        "recircTemperatureMax": model.high if model.recirculation else 0.0,
    }


def trend(heater: Heater) -> dict[str, dict[str, int]]:
    """The counters of the installer's screens (`docs/protocol/navilink.md` 5.7); those it does not keep are 0."""
    state = heater.state
    total = Usage()
    for used in heater.ledger.values():
        total.add(used)
    return {
        "tdData": {
            **dict.fromkeys(("dhwUseTotalFlow", "longDhwUseTotalTime", "numOfShortDhwUse", "numOfdhwUse"), 0),
            **dict.fromkeys(("numOfLongDhwUse", "longDhwUseTotalFlow", "dhwUseTotalTime"), 0),
            "avrageRecoveryTime": 96,
        },
        "tsData": {
            **dict.fromkeys(TREND_EVENTS, 0),
            "cumulatedPwrHp": round(total.heat_pump_wh),
            "cumulatedPwrHe": round(total.element_wh),
            "daysSinceInstallation": ordinal(state.time) - heater.installed,
        },
        "taData": {
            **dict.fromkeys(("mixingValveOpAvgMixinGrate", "mixingValveOpTotalStep", "cumulatedOpStepEev"), 0),
            **dict.fromkeys(("cumulatedOpNumUhe", "cumulatedOpNumLhe", "cumulatedOpTimeLhe"), 0),
            "cumulatedOpNumShutOffVv": 0,
            "cumulatedOpTimeUhe": round(total.element_seconds / HOUR),
            "cumulatedOpTimeComp": round(total.heat_pump_seconds / HOUR),
            "cumulatedOpNumComp": state.compressor_starts,
            "cumulatedOpNumEvaFan": state.compressor_starts,
            "cumulatedOpTimeEvaFan": int(state.fan_seconds // HOUR),
        },
    }


def _thresholds(source: str, place: str, threshold: Threshold, target: float) -> dict[str, float]:
    # The wire has half degrees; a start at or above the stop would read as a contradiction.
    on = round((target - threshold.on) * 2) / 2 if threshold.used else NOT_IN_USE
    return {f"{source}{place}OnTempSetting": on, f"{source}{place}OffTempSetting": target}


def _differences(source: str, place: str, threshold: Threshold) -> dict[str, float]:
    # The real firmware misspells one of the eight names, and clients rely on it.
    on = "heLowerOnTDiffempSetting" if (source, place) == ("he", "Lower") else f"{source}{place}OnDiffTempSetting"
    return {on: threshold.on, f"{source}{place}OffDiffTempSetting": threshold.off}
