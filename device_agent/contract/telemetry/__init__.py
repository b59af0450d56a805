"""What a device says: one frozen type a message, and its JSON.

Layout:

- `message`: what every message has: its `Envelope`
- `measurements`: inference, inputs, the machine, heat and power, window by window
- `states`: birth, health, what is followed, alarms, how far a command is; retained
- `event`: what happened once
- `result`: what one frame gave
- `codec`: their flat JSON and back, by `writing` and `reading`, which has `envelope_reading` and `measurement_reading`
  below it; `bounds` says how much a message may have
- `units`: what the numbers mean

(device, ``boot_id``, ``seq``) names a message once and for all: ``boot_id`` changes with every start of the
agent, ``seq`` begins at 0, the farewell, and grows by one with every message of any type, so that a reader can
count what is missing. A state (health, birth) that is replaced before anybody could have it leaves its number to
its successor.
"""
