"""What touches devices: signed desired states out, what devices say in, certificates.

Layout:
    publisher.py     what a group shall run, as a signed desired state
    observations.py  what a device said, one frozen type each; pure
    hearing.py       observations as what the service takes
    listener.py      an MQTT 5 subscription that hands observations over and acknowledges what was taken
    releases.py      artifacts of one version, checked and signed in one go
    enrolment.py     claim tokens of groups, approval, revocation, on top of `host_tools.authority`
"""
