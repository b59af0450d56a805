"""What `edgewright ca` does."""

from __future__ import annotations

import json
import logging
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from device_agent.contract.claim_token import authority_digest
from device_agent.durable import write_durably
from device_agent.ending import end_at_once_when_asked_again
from host_tools.authority.folder import OWNER_ONLY, AuthorityFolder, create_authority
from host_tools.authority.server import listen
from host_tools.authority.service import EnrolmentService
from host_tools.cli.moments import to_the_second
from host_tools.cli.until_ended import until_ended
from host_tools.errors import OutputError
from host_tools.output_folder import open_output_folder

if TYPE_CHECKING:
    import argparse

    from host_tools.authority.register import Claim, Entry

_LIST_DAYS: Final = 30
_SERVER_DAYS: Final = 397
"""Longest validity of a server's certificate that browsers take. Source: CA/Browser Forum, Baseline Requirements 6.3.2 (before 2026)."""


def run_init(options: argparse.Namespace) -> int:
    """Make an authority."""
    folder = create_authority(
        Path(options.folder), name=options.name, lifetime=timedelta(days=365.25 * options.years)
    )
    print(f"{folder.path}: made. Its certificate is {authority_digest(folder.signer.der)}.")
    print(
        "ca.key is the whole fleet's trust: keep it, and a copy of the folder, where nobody else can read them."
    )
    return 0


def run_token(options: argparse.Namespace) -> int:
    """Make a claim token; it alone goes to standard output."""
    folder = AuthorityFolder(Path(options.folder))
    print(folder.token(url=options.url, device=options.device, lifetime=timedelta(hours=options.hours)))
    return 0


def run_serve(options: argparse.Namespace) -> int:
    """Answer devices until Ctrl-C."""
    end_at_once_when_asked_again("edgewright")
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)-7s %(message)s", stream=sys.stderr
    )
    folder = AuthorityFolder(Path(options.folder))
    service = EnrolmentService(
        folder, device_lifetime=timedelta(days=options.days), list_lifetime=timedelta(days=_LIST_DAYS)
    )
    with listen(
        folder,
        service,
        host=options.host,
        port=options.port,
        names=options.names,
        lifetime=timedelta(days=_SERVER_DAYS),
    ) as server:
        print(
            f"listening at {options.host}:{server.server_address[1]} as {', '.join(options.names)}",
            flush=True,
        )
        with until_ended():
            server.serve_forever()
    return 0


def run_server(options: argparse.Namespace) -> int:
    """Make key and certificate of a broker or a repository."""
    folder = AuthorityFolder(Path(options.folder))
    key, certificate = folder.certify_server(options.names, lifetime=timedelta(days=options.days))
    with open_output_folder(Path(options.out)) as out:
        try:
            write_durably(out.path / "server.key", key, mode=OWNER_ONLY)
        except OSError as error:
            raise OutputError(f"{out.path / 'server.key'}: {error.strerror}.") from error
        out.write("server.crt", certificate.encode())
        out.write("ca.crt", folder.signer.pem.encode())
    print(f"{options.out}: server.key, server.crt, ca.crt")
    return 0


def run_revoke(options: argparse.Namespace) -> int:
    """Revoke."""
    folder = AuthorityFolder(Path(options.folder))
    for entry in folder.revoke(device=options.device, serial=options.serial, reason=options.reason):
        print(f"revoked: {entry.name} {entry.serial}")
    print("Brokers go by the list: edgewright ca crl, then let them read it anew.")
    return 0


def run_crl(options: argparse.Namespace) -> int:
    """Write the list of revoked certificates."""
    folder = AuthorityFolder(Path(options.folder))
    listed = folder.revocation_list(lifetime=timedelta(days=options.days))
    target = Path(options.out)
    with open_output_folder(target.parent) as out:
        out.write(target.name, listed.encode())
    print(f"{options.out}: valid for {options.days:g} days; make it anew before that")
    return 0


def run_list(options: argparse.Namespace) -> int:
    """Show tokens and certificates; no secret is among them."""
    folder = AuthorityFolder(Path(options.folder))
    with folder.register.transaction() as book:
        claims, entries = book.claims(), book.certificates()
    now = folder.wall_seconds()
    if options.json:
        print(
            json.dumps(
                {
                    "tokens": [_claim_facts(claim, now) for claim in claims],
                    "certificates": [_entry_facts(entry, now) for entry in entries],
                },
                indent=1,
            )
        )
        return 0
    for claim in claims:
        facts = _claim_facts(claim, now)
        print(f"token       {facts['state']:<8} until {facts['expires']}  {facts['device'] or 'any device'}")
    for entry in entries:
        facts = _entry_facts(entry, now)
        print(
            f"certificate {facts['state']:<8} until {facts['not_after']}  {facts['use']} {facts['name']}  "
            f"{facts['serial']}  {facts['reason']}".rstrip()
        )
    return 0


def _claim_facts(claim: Claim, now: float) -> dict[str, str]:
    state = "spent" if claim.spent_serial else "expired" if claim.expires_seconds < now else "good"
    return {
        "device": claim.device,
        "state": state if claim.revoked_seconds is None else "revoked",
        "expires": to_the_second(claim.expires_seconds),
        "bought": claim.spent_serial,
    }


def _entry_facts(entry: Entry, now: float) -> dict[str, str]:
    state = "expired" if entry.not_after_seconds <= now else "good"
    return {
        "serial": entry.serial,
        "use": entry.use,
        "name": entry.name,
        "state": state if entry.revoked_seconds is None else "revoked",
        "not_after": to_the_second(entry.not_after_seconds),
        "reason": entry.reason,
    }
