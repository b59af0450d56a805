"""TLS of a connection to a broker, and what to tell the user of a connection that cannot be made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.contract.errors import TransferError
from host_tools.errors import InputError

if TYPE_CHECKING:
    import paho.mqtt.client as mqtt

    from host_tools.review.broker_address import BrokerAddress, TlsFiles

WANTS_CERTIFICATE = (
    "Is this an MQTT broker? If it asks for a client's certificate, give --cert FILE and --key FILE."
)


def use_tls(client: mqtt.Client, address: BrokerAddress, files: TlsFiles) -> None:
    """Set up TLS as the address says.

    Raises:
        InputError: A file cannot be used, or one is given for a connection without TLS.
    """
    if not address.tls:
        if files.is_given:
            raise InputError(f"{address}: certificates are for TLS.", hint="Write mqtts:// instead.")
        return
    if files.key and not files.certificate:
        raise InputError(f"{files.key}: a key is of no use without its certificate.", hint="Give --cert too.")
    for file in (files.authority, files.certificate, files.key):
        if file is not None and not file.is_file():
            raise InputError(f"{file}: no such file.")
    try:
        client.tls_set(
            ca_certs=None if files.authority is None else str(files.authority),
            certfile=None if files.certificate is None else str(files.certificate),
            keyfile=None if files.key is None else str(files.key),
        )
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        named = ", ".join(
            str(file) for file in (files.authority, files.certificate, files.key) if file is not None
        )
        raise InputError(
            f"{named}: cannot be used: {error}.", hint="PEM files are expected, the key without a password."
        ) from error


def explain(address: BrokerAddress, error: Exception) -> TransferError:
    """Return the error of a connection that could not be made."""
    hint = "Is the broker running, and is the port right?"
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        hint = "Name the broker's own authority with --ca FILE."
    elif address.tls and "CERTIFICATE_REQUIRED" in str(error):
        hint = WANTS_CERTIFICATE
    return TransferError(f"{address}: cannot connect: {error}.", hint=hint)
