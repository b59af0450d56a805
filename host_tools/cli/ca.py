"""`edgewright ca`: the arguments; what the commands do is in `certifying`."""

from __future__ import annotations

import argparse

from host_tools.cli.arguments import above_zero, examples_of

_EPILOG = """\
examples:
  edgewright ca init fleet-ca/
  edgewright ca serve fleet-ca/ --name ca.example --port 8443
  edgewright ca token fleet-ca/ --url https://ca.example:8443 --device lab-1 > lab-1.token
  edgewright ca server fleet-ca/ --name broker.example --out broker/
  edgewright ca revoke fleet-ca/ --device lab-1 --reason "lost on the train"
  edgewright ca crl fleet-ca/ --out broker/crl.pem
  edgewright ca list fleet-ca/

docs/enrolment.md has the whole story, and the broker's configuration.
"""
_FOLDER_HELP = "the authority's folder"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its own commands."""
    parser = commands.add_parser(
        "ca",
        help="certificates for devices and servers of a small fleet",
        description="A small certificate authority: claim tokens, certificates, revocation.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    init = _verb(verbs, "init", "make an authority")
    init.add_argument("--name", default="Edgewright fleet", help="its name (default: Edgewright fleet)")
    init.add_argument("--years", type=above_zero, default=10.0, metavar="N", help="validity (default: 10)")
    token = _verb(verbs, "token", "make a claim token, for one device, once; it is printed and kept nowhere")
    token.add_argument(
        "--url", required=True, metavar="https://HOST[:PORT]", help="where devices find `serve`"
    )
    token.add_argument(
        "--device", default="", metavar="ID", help="the only device that may use it (default: any new one)"
    )
    token.add_argument("--hours", type=above_zero, default=24.0, metavar="N", help="validity (default: 24)")
    serve = _verb(verbs, "serve", "answer devices: enrolment and renewal over HTTPS")
    _add_names(serve, "what devices call this server")
    serve.add_argument("--host", default="0.0.0.0", help="address to listen at (default: all)")  # noqa: S104  devices come from elsewhere
    serve.add_argument("--port", type=int, default=8443, help="(default: 8443)")
    serve.add_argument(
        "--days",
        type=above_zero,
        default=90.0,
        metavar="N",
        help="validity of devices' certificates (default: 90)",
    )
    server = _verb(verbs, "server", "make key and certificate for a broker or a repository")
    _add_names(server, "what devices call it")
    server.add_argument("--out", required=True, metavar="DIR", help="gets server.key, server.crt, ca.crt")
    server.add_argument("--days", type=above_zero, default=397.0, metavar="N", help="validity (default: 397)")
    revoke = _verb(verbs, "revoke", "revoke certificates; brokers know once they have the new list (crl)")
    which = revoke.add_mutually_exclusive_group(required=True)
    which.add_argument("--device", default="", metavar="ID", help="all that this device has")
    which.add_argument("--serial", default="", metavar="HEX", help="the one with this serial number")
    revoke.add_argument("--reason", default="", help="kept in the register, and told the device")
    crl = _verb(verbs, "crl", "write the list of revoked certificates, for brokers")
    crl.add_argument("--out", required=True, metavar="FILE", help="the list, PEM")
    crl.add_argument(
        "--days", type=above_zero, default=30.0, metavar="N",
        help="validity (default: 30); brokers refuse everybody once it is over, so make it anew before",
    )  # fmt: skip
    listing = _verb(verbs, "list", "show tokens and certificates")
    listing.add_argument("--json", action="store_true", help="print JSON")


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=examples_of(_EPILOG, name),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="DIR", help=_FOLDER_HELP)
    parser.set_defaults(run=f"host_tools.cli.certifying:run_{name}")
    return parser


def _add_names(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument(
        "--name",
        action="append",
        required=True,
        dest="names",
        metavar="HOST",
        help=f"{text}; may be repeated",
    )
