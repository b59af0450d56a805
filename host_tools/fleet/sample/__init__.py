"""A fleet to play with, brought up by one command on loopback: broker, authority, repository, telemetry, server and real agents.

Layout:
    folder.py      `SampleFolder`: the folder with everything in it, held by one command at a time
    ending.py      Ctrl-C and SIGTERM as something that is asked for, so that every process is ended in order
    processes.py   `Processes`: started, watched, ended, each with a log
    broker.py      the broker: mosquitto
    releases.py    the repository, and three releases: 1.0, a better 2.0, a slow 3.0
    plans.py       their rollouts, as TOML
    devices.py     the agents: their configuration, enrolment and start
    files.py       the repository over HTTP
    history.py     whether devices have said enough for a gate to compare
    bringing_up.py everything in its order
"""
