from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
import ssl
import sys
import typing
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.broker import broker_settings, courier_limits
from device_agent.config import SECTIONS, AgentConfig, described, load_config, mqtt_password, parse_config
from device_agent.contract.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LEAST = """
[device]
id = "dev-1"
[artifact]
path = "a.ewa"
[spool]
path = "state/spool.db"
"""


def parsed(text: str = "", *, base: str = LEAST) -> AgentConfig:
    return parse_config((base + text).encode(), origin="agent.toml", folder=Path("/etc/edgewright"))


def test_the_least_configuration_and_its_defaults() -> None:
    config = parsed()
    assert config.artifact.path == Path("/etc/edgewright/a.ewa")
    assert config.spool.path == Path("/etc/edgewright/state/spool.db")
    assert (config.engine.name, config.source.kind) == ("auto", "null")
    assert (config.mqtt.version, config.mqtt.max_inflight_messages) == ("3.1.1", 20)
    assert config.sensors.sysfs_root == Path("/sys")


def test_every_setting_can_be_said_and_is_kept() -> None:
    text = """
[device]
id = "dev-1"
targets = ["x86_64-onnxruntime", "cortex-a-tflite"]
[artifact]
path = "/opt/a.ewa"
max_bytes = 1000000
[engine]
name = "onnx"
threads = 4
[source]
kind = "directory"
path = "photos"
loop = true
rate_hz = 12
max_frames = 10
[results]
mqtt = true
jsonl = "-"
top_k = 3
[mqtt]
host = "broker.example"
port = 8883
version = "5"
topic_root = "my/root"
username = "u"
password_file = "secret"
tls_ca = "ca.crt"
tls_cert = "c.crt"
tls_key = "c.key"
will_delay_seconds = 30
[telemetry]
interval_seconds = 60
[spool]
path = "s.db"
max_bytes = 2000000
[sensors]
sysfs_root = "fake"
[log]
format = "json"
level = "debug"
"""
    config = parsed(text, base="")
    assert config.device.targets == ("x86_64-onnxruntime", "cortex-a-tflite")
    assert config.source.rate_hz == 12.0
    assert isinstance(config.source.rate_hz, float)
    assert config.results.jsonl == Path("-")
    assert config.source.path == Path("/etc/edgewright/photos")
    assert config.artifact.path == Path("/opt/a.ewa")
    assert config.mqtt.tls_key == Path("/etc/edgewright/c.key")
    assert json.loads(json.dumps(described(config)))["source"]["path"] == "/etc/edgewright/photos"


def test_a_password_in_an_address_is_refused_and_not_told() -> None:
    update = '[update]\nurl = "https://me:s3cret@updates.example/fleet"\nroot = "r"\ndirectory = "d"'
    with pytest.raises(
        ConfigError, match=r"update\.url: .*, without a user; got 'updates\.example/fleet'"
    ) as caught:
        parsed(update)
    assert "s3cret" not in str(caught.value)


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        parsed().mqtt.port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[mqtt]\nprot = 1", "agent.toml: mqtt: prot: unknown. Did you mean 'port'?"),
        ("[mqt]\nport = 1", "agent.toml: [mqt]: unknown. Did you mean 'mqtt'?"),
        ("[mqtt]\nzzzzzz = 1", "Known: enabled, host"),
        ("[mqtt]\nport = 0", "agent.toml: mqtt.port: expected 1 to 65535, got 0."),
        ("[mqtt]\nport = " + "9" * 4_000, "mqtt.port: expected 1 to 65535, got 999"),
        (
            "[mqtt]\nport = 0x" + "f" * 5_000,
            "mqtt.port: expected 1 to 65535, got an integer of thousands of digits.",
        ),
        ("[mqtt]\nversion = 0x" + "f" * 5_000, "mqtt.version: expected one of 3.1.1, 5, got an integer of"),
        ("[mqtt]\nversion = [0x" + "f" * 5_000 + "]", "mqtt.version: expected one of"),
        (
            '[source]\npath = "' + "a/" * 3_000 + '"',
            "source.path: expected a path of at most 4095 bytes, got 60",
        ),
        ("[source]\nmax_frames = -1", "source.max_frames: expected 0 to 9007199254740992, got -1."),
        ("max_bytes = 1", "spool.max_bytes: expected 1048576 to 1099511627776, got 1."),
        ("[mqtt]\nreconnect_min_seconds = 0", "mqtt.reconnect_min_seconds: expected 0.05 to 3600, got 0."),
        ("[mqtt]\nport = true", "mqtt.port: expected an integer, got True."),
        ("[mqtt]\nport = 1.5", "mqtt.port: expected an integer, got 1.5."),
        ('[mqtt]\nport = "1883"', "mqtt.port: expected an integer, got '1883'."),
        ("[mqtt]\nack_timeout_seconds = inf", "mqtt.ack_timeout_seconds: expected a number"),
        ("[mqtt]\nack_timeout_seconds = nan", "mqtt.ack_timeout_seconds: expected a number"),
        ("[mqtt]\nenabled = 1", "mqtt.enabled: expected true or false, got 1."),
        ('[mqtt]\nhost = ""', "mqtt.host: expected a text, not empty and without NUL, got ''."),
        ("[mqtt]\nhost = 5", "mqtt.host: expected a text, not empty and without NUL, got 5."),
        (
            '[mqtt]\nversion = "3.1"',
            "mqtt.version: expected one of 3.1.1, 5, got '3.1'. Did you mean '3.1.1'?",
        ),
        ("[mqtt]\nversion = 5", "mqtt.version: expected one of"),
        ('[mqtt]\nhost = "a..b"', "mqtt.host: expected a host name or an IP address, got 'a..b'."),
        ('[mqtt]\nhost = "%s"' % ("a" * 300), "mqtt.host: expected a host name or an IP address"),
        ('[mqtt]\nhost = "mqtt://b"', "mqtt.host: expected a host name or an IP address"),
        ('[mqtt]\nhost = " "', "mqtt.host: expected a host name or an IP address"),
        ('[mqtt]\nclient_id = "%s"' % ("x" * 66_000), "mqtt.client_id: expected at most 65535 bytes"),
        ('[mqtt]\nclient_id = "a\\u0001"', "mqtt.client_id: expected at most 65535 bytes without control"),
        ('[mqtt]\nusername = "%s"' % ("ü" * 33_000), "mqtt.username: expected at most 65535 bytes"),
        ('[source]\nkind = "mqtt"\ntopic = "%s"' % ("x" * 66_000), "source.topic: expected at most 65535"),
        (
            '[results]\njsonl = "a.ewa"',
            "artifact.path: /etc/edgewright/a.ewa is results.jsonl too, which the agent writes.",
        ),
        (
            '[results]\njsonl = "state/../a.ewa"',
            "artifact.path: /etc/edgewright/a.ewa is results.jsonl too, which the agent writes.",
        ),
        (
            '[results]\njsonl = "state/spool.db"',
            "/etc/edgewright/state/spool.db is ",
        ),
        (
            '[results]\njsonl = "state/spool.db-wal"',
            "spool.path with -wal: /etc/edgewright/state/spool.db-wal is results.jsonl too.",
        ),
        (
            '[results]\njsonl = "state/commands.json"',
            "commands.json beside spool.path: /etc/edgewright/state/commands.json is results.jsonl too.",
        ),
        ('[status]\nsocket = "a.ewa"', "artifact.path: /etc/edgewright/a.ewa is status.socket too"),
        ('[identity]\nfolder = "state/spool.db"', "spool.path"),
        (
            '[update]\nurl = "http://h"\nroot = "r"\ndirectory = "r"',
            "update.root: /etc/edgewright/r is update.directory",
        ),
        ('[results]\njsonl = "/"', "results.jsonl: expected a file or folder with a name, got '/'."),
        (
            '[results]\njsonl = "r"\n[[model]]\nname = "b"\n[model.artifact]\npath = "r.1"',
            "model b: artifact.path: /etc/edgewright/r.1 is results.jsonl with .1",
        ),
        ('[mqtt]\ntopic_root = "a b"', "agent.toml: mqtt.topic_root:"),
        ('[engine]\nname = "onxn"', "Did you mean 'onnx'?"),
        ('[source]\nkind = "directory"', "source.path: is missing"),
        ('[source]\nkind = "mqtt"\npath = "x"', "source.path: source.kind 'mqtt' takes none"),
        ('[source]\ntopic = "x"', "source.topic: source.kind 'null' takes none"),
        ('[source]\nkind = "mqtt"\ntopic = "a/#/b"', "is no MQTT topic filter"),
        ('[source]\nkind = "mqtt"\ntopic = "a+/b"', "is no MQTT topic filter"),
        ('[source]\nkind = "mqtt"\n[mqtt]\nenabled = false', "needs mqtt.enabled = true"),
        ('[mqtt]\nusername = "u"\npassword_file = "f"\npassword_env = "E"', "not both"),
        ('[mqtt]\npassword_env = "E"', "mqtt.username: is missing"),
        ('[mqtt]\ntls_ca = "ca"\ntls_cert = "c"', "certificate and mqtt.tls_key go together"),
        ('[mqtt]\ntls_cert = "c"\ntls_key = "k"', "mqtt.tls_ca: is missing"),
        ('[mqtt]\ntls_server_name = "x"', "mqtt.tls_ca: is missing"),
        (
            '[identity]\nfolder = "i"\n[mqtt]\ntls_ca = "a"\ntls_cert = "c"\ntls_key = "k"',
            "identity.folder has the device's",
        ),
        ("[identity]\nrenew_share = 1.0", "identity.renew_share: expected 0.01 to 0.99"),
        ("[mqtt]\nreconnect_min_seconds = 100.0", "is above mqtt.reconnect_max_seconds"),
        ("[mqtt]\nwill_delay_seconds = 5", 'needs mqtt.version = "5"'),
        (
            "[mqtt]\npayload_max_bytes = 1000000\nmax_inflight_messages = 50",
            "spool.max_bytes: must be at least",
        ),
        ("[heat]\nvariant_celsius = 70.0", "heat.variant_path: it and heat.variant_celsius go together"),
        ('[heat]\nvariant_path = "v.ewa"', "heat.variant_path: it and heat.variant_celsius go together"),
        (
            '[heat]\nvariant_digest = "sha256:%s"' % ("0" * 64),
            "heat.variant_digest: heat.variant_path is missing",
        ),
        ('[heat]\nvariant_digest = "md5:1"', "agent.toml: heat.variant_digest: expected 'sha256:'"),
        ('[heat]\nvariant_digest = "%s"' % ("x" * 5_000), "hexadecimal digits, got 'xxx"),
        (
            "[source]\nrate_hz = 1.0\n[heat]\nslow_celsius = 70.0",
            "heat.slow_rate_hz: must be below source.rate_hz",
        ),
        ("[heat]\npause_celsius = 201", "heat.pause_celsius: expected -40 to 200, got 201"),
        ("[sensors]\nidle_watts = -1", "sensors.idle_watts: expected 0 to 100000, got -1"),
        ("[log]\nlevel = 'loud'", "log.level: expected one of debug, info, warning, error"),
    ],
)
def test_a_wrong_setting_names_file_key_expected_and_got(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(text)
    assert says in str(caught.value)
    assert str(caught.value).startswith("agent.toml: ")
    assert len(str(caught.value)) < 400


KEYS = [
    (table, field.name, typing.get_type_hints(kind)[field.name], field.metadata)
    for table, kind in SECTIONS.items()
    for field in dataclasses.fields(kind)
    if table != "model"
]
NUMBERS = [(table, key, hint, bounds) for table, key, hint, bounds in KEYS if "low" in bounds]
ODD_VALUES = ("{}", "[{a = 1}]", "1979-05-27T07:32:00Z", "07:32:00", "[[]]", '[""]')
"""Of a type that no key has."""


def with_key(table: str, key: str, value: str) -> str:
    """Return a configuration with one key set, in place of what it was."""
    document = tomllib.loads(LEAST)
    tables = {
        name: {inner: json.dumps(text) for inner, text in one.items()} for name, one in document.items()
    }
    tables.setdefault(table, {})[key] = value
    return "".join(
        f"[{name}]\n" + "".join(f"{inner} = {text}\n" for inner, text in one.items())
        for name, one in tables.items()
    )


@pytest.mark.parametrize(("table", "key", "hint", "bounds"), KEYS)
def test_every_key_refuses_every_other_type(table: str, key: str, hint: object, bounds: object) -> None:
    takes_text = hint in (str, Path) or "str" in str(hint) or "Path" in str(hint)
    for value in (
        *ODD_VALUES,
        "true" if hint is not bool else "1",
        "5" if takes_text or hint is bool else '"x"',
    ):
        with pytest.raises(ConfigError) as caught:
            parsed(base=with_key(table, key, value))
        assert re.match(rf"agent\.toml: {table}\.{key}: expected .+, got .", str(caught.value)), value


@pytest.mark.parametrize(("table", "key", "hint", "bounds"), NUMBERS)
def test_every_number_refuses_what_is_out_of_its_range(
    table: str, key: str, hint: object, bounds: Mapping[str, float]
) -> None:
    for value in (bounds["low"] - 1, bounds["high"] + 1, -(10**40), 10**40):
        with pytest.raises(ConfigError) as caught:
            parsed(base=with_key(table, key, str(int(value))))
        said = rf"agent\.toml: {table}\.{key}: expected \S+ to \S+, got {int(value)}"
        assert re.match(said, str(caught.value)), value


@pytest.mark.parametrize("topic", ["#", "+", "a/+/b", "a/b/#", "/", "$share/g/a", "frames"])
def test_topic_filters_that_mqtt_knows(topic: str) -> None:
    config = parsed(f'[source]\nkind = "mqtt"\ntopic = "{topic}"')
    assert config.source.topic == topic


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "table [device] is missing"),
        ("[device]", "device.id: is missing"),
        ('[device]\nid = "a b"\n[artifact]\npath="x"\n[spool]\npath="y"', "device.id:"),
        ('[device]\nid = "a"\n[artifact]\npath="x"\ndigest="md5:1"\n[spool]\npath="y"', "artifact.digest:"),
        ('[device]\nid = "a"\ntargets = "t"', "device.targets: expected a list of texts"),
        ('[device]\nid = "a"\ntargets = [1]', "device.targets: expected a list of texts"),
        (
            '[device]\nid = "a"\n[artifact]\npath="x"\n[spool]\npath="/"',
            "spool.path: expected a file or folder",
        ),
        ("[device", "not valid TOML"),
        ("a = " + "9" * 5_000, "not valid TOML: Exceeds the limit"),
        ("mqtt = 3", "mqtt: expected a table [mqtt], got 3."),
        ('[device]\nid = "a"\nid = "b"', "not valid TOML"),
    ],
)
def test_what_is_missing_or_no_toml(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=r"^agent\.toml: ") as caught:
        parsed(text, base="")
    assert says in str(caught.value)


@given(
    st.binary(max_size=300)
    | st.text(max_size=200).map(lambda text: (LEAST + text).encode("utf-8", "surrogatepass"))
)
@settings(max_examples=200, deadline=None)
def test_no_bytes_bring_out_another_error(data: bytes) -> None:
    try:
        parse_config(data, origin="agent.toml", folder=Path("/x"))
    except ConfigError as error:
        assert str(error).startswith("agent.toml: ")


def test_a_byte_order_mark_in_front_is_no_part_of_the_text(tmp_path: Path) -> None:
    config = parse_config(b"\xef\xbb\xbf" + LEAST.encode(), origin="agent.toml", folder=Path("/x"))
    assert config.device.id == "dev-1"
    (tmp_path / "secret").write_bytes(b"\xef\xbb\xbfs3cret\r\n")
    by_file = parsed(f'[mqtt]\nusername = "u"\npassword_file = "{tmp_path}/secret"')
    assert mqtt_password(by_file.mqtt) == "s3cret"
    (tmp_path / "secret").write_bytes("a\x85b\u2028c\nd".encode())
    assert mqtt_password(by_file.mqtt) == "a\x85b\u2028c"


def test_tls_files_are_looked_at_at_the_start_but_not_when_there_is_no_broker() -> None:
    with pytest.raises(ConfigError, match=r"mqtt.tls_ca /etc/edgewright/none.crt"):
        broker_settings(parsed('[mqtt]\ntls_ca = "none.crt"'))
    assert broker_settings(parsed('[mqtt]\nenabled = false\ntls_ca = "none.crt"')).tls is None
    with pytest.raises(ConfigError, match="has no certificate yet"):
        broker_settings(parsed('[identity]\nfolder = "none"'))
    assert broker_settings(parsed('[identity]\nfolder = "none"\n[mqtt]\nenabled = false')).tls is None


def test_a_file_is_named_when_it_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "big.toml").write_bytes(b"#" * (1 << 21))
    with pytest.raises(ConfigError, match="some other file"):
        load_config(tmp_path / "big.toml")


def test_who_may_not_read_the_file_is_told_who_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "agent.toml").write_text(LEAST)
    monkeypatch.setattr(os, "open", refuse)  # root may read everything
    with pytest.raises(
        ConfigError, match=r"cannot be read: Permission denied\. Run it as root, or as the agent's own user"
    ):
        load_config(tmp_path / "agent.toml")


@pytest.mark.parametrize("key", ['[results]\njsonl = "NAME"', '[status]\nsocket = "NAME"'])
def test_the_agent_does_not_write_over_its_configuration(tmp_path: Path, key: str) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(LEAST + key.replace("NAME", "agent.toml"))
    with pytest.raises(ConfigError, match=r"agent\.toml: .*: is this very configuration"):
        load_config(file)
    link = tmp_path / "link.toml"
    link.symlink_to(file)
    with pytest.raises(ConfigError, match=r"link\.toml: .*: is this very configuration"):
        load_config(link)


def test_what_is_no_file_may_be_named_twice_and_a_loop_of_links_is_no_error_of_python(tmp_path: Path) -> None:
    two = '[results]\njsonl = "/dev/null"\n[[model]]\nname = "b"\n[model.artifact]\npath = "a.ewa"\n'
    config = parsed(two + '[model.results]\njsonl = "/dev/null"\n')
    assert config.model[0].results.jsonl == config.results.jsonl == Path("/dev/null")
    (tmp_path / "one").symlink_to("other")
    (tmp_path / "other").symlink_to("one")
    (tmp_path / "agent.toml").write_text(LEAST + '[results]\njsonl = "one"')
    assert load_config(tmp_path / "agent.toml").results.jsonl == tmp_path / "one"


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(LEAST)
    assert load_config(tmp_path / "agent.toml").artifact.path == tmp_path / "a.ewa"


def test_the_password_comes_from_a_file_or_the_environment_and_shows_nowhere(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\nsecond line\n")
    by_file = parsed(f'[mqtt]\nusername = "u"\npassword_file = "{tmp_path}/secret"')
    by_name = parsed('[mqtt]\nusername = "u"\npassword_env = "EW_PASSWORD"')
    assert mqtt_password(by_file.mqtt) == "s3cret"
    assert mqtt_password(by_name.mqtt, environment={"EW_PASSWORD": "s3cret"}) == "s3cret"
    assert mqtt_password(parsed().mqtt) is None
    shown = repr(by_file) + json.dumps(described(by_file)) + repr(broker_settings(by_file))
    assert "s3cret" not in shown


def test_a_password_that_cannot_be_had_names_its_key(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name, says in (("none", "cannot be read"), ("empty", "is empty"), ("binary", "cannot be read")):
        config = parsed(f'[mqtt]\nusername = "u"\npassword_file = "{tmp_path}/{name}"')
        with pytest.raises(ConfigError, match=f"mqtt.password_file: .*{says}"):
            mqtt_password(config.mqtt)
    (tmp_path / "long").write_text("x" * 65_536)
    config = parsed(f'[mqtt]\nusername = "u"\npassword_file = "{tmp_path}/long"')
    with pytest.raises(ConfigError, match="the password has 65536 bytes; MQTT carries 65535"):
        mqtt_password(config.mqtt)
    config = parsed('[mqtt]\nusername = "u"\npassword_env = "EW_PASSWORD"')
    with pytest.raises(ConfigError, match="EW_PASSWORD is not set"):
        mqtt_password(config.mqtt, environment={})


def test_what_the_broker_is_given() -> None:
    authorities = ssl.get_default_verify_paths().cafile
    assert authorities is not None
    config = parsed(f'[source]\nkind = "mqtt"\nmax_frame_bytes = 99\n[mqtt]\ntls_ca = "{authorities}"')
    settings_of = broker_settings(config, client_id_suffix="-check")
    assert settings_of.client_id == "edgewright-dev-1-check"
    assert settings_of.max_incoming_bytes == 99
    assert settings_of.tls is not None
    assert broker_settings(parsed()).max_incoming_bytes == 0
    assert courier_limits(config.mqtt).max_inflight_messages == 20
