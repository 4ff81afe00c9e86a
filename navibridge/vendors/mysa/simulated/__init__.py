"""The simulated Mysa cloud and its thermostats.

    verifier     the server's half of Cognito's SRP                                     pure
    accounts     who may sign in, and what is wrong with them
    cognito      user pool and identity pool: sign-in, tokens, AWS credentials
    physics      a room, its heater or air conditioner, and the weather                 pure
    reports      what a thermostat says, in the vendor's fields                         pure
    faults       how quick thermostats are, and what may be wrong with them
    orders       which settings of a command a thermostat takes                         pure
    thermostat   one thermostat on the wire: requests in, reports and batches out
    service      the REST service, in all its forms
    signing      requests that are signed in their headers
    listing      what the REST service says of devices, homes and users

`navibridge.vendors.mysa.simulated.cloud` is the cloud around them.
"""
