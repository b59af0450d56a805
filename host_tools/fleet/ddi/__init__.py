"""Devices that poll over Eclipse hawkBit's Direct Device Integration API, as SWUpdate and rauc-hawkbit-updater do.

Source: Eclipse hawkBit, "Direct Device Integration API", and the two clients' requests.

Layout:
    wire.py         what devices send and are told: one type a body
    tokens.py       target and gateway tokens: made, told once, taken back
    door.py         which device asks: its token, before a byte of the body is read
    offers.py       which action a device has now: pure but for the questions to the store
    feedback.py     what a device says of an action, as the fleet's service takes it
    attributes.py   what a device says of itself, as its inventory
    files.py        the file that an action brings, with its hashes
    endpoints.py    all of it over HTTP
"""
