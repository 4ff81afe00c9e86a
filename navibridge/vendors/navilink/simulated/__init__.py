"""The devices of the simulated NaviLink cloud.

    physics      a heat-pump water heater: tank, machinery, controller    pure
    tankless     a gas unit                                               pure
    reports      what a heat pump's sensors say, in the vendor's fields   pure
    tariff       rate plans as the vendor's bitfields                     pure
    appliance    what every device on the wire has: address, voice, faults, a plan of answers
    heater, gas  the two sorts of it: requests in, answers and notices out

`navibridge.vendors.navilink.simulated.cloud` is the cloud around them.
"""
