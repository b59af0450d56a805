"""What every command of `edgewright fleet` is made of."""

from __future__ import annotations

import argparse

from host_tools.cli.arguments import count, examples_of

EXAMPLES = """\
examples:
  edgewright fleet sample sample-fleet/
  edgewright fleet serve --database fleet.db
  edgewright fleet serve --database postgresql://fleet@db/fleet --host 0.0.0.0 --tls-cert server.crt --tls-key server.key
  edgewright fleet serve --database fleet.db --repository fleet/ --keys keys/ --broker mqtt://localhost
  edgewright fleet serve --database fleet.db --repository fleet/ --keys keys/ --ddi
  edgewright fleet token create --database fleet.db --name ada --role admin > ada.token
  edgewright fleet token list --database fleet.db
  edgewright fleet token revoke --database fleet.db 4f2a90c1d3e7
  edgewright fleet groups add lab --token-file ada.token
  edgewright fleet groups add outdoor --select-tag outdoor --select-target cortex-a-tflite --token-file ada.token
  edgewright fleet groups edit outdoor --select-tag outdoor --select-tag north --token-file ada.token
  edgewright fleet releases add fleet/releases/model-1.1.0.json --token-file ada.token
  edgewright fleet devices claim --group lab --token-file ada.token > gate-7.token
  edgewright fleet claims list --group lab --token-file ada.token
  edgewright fleet claims revoke 4f2a90c1d3e7 --token-file ada.token
  edgewright fleet devices list --token-file ada.token --group lab --json
  edgewright fleet devices import devices.csv --token-file ada.token
  edgewright fleet devices edit gate-7 --group shop --tag indoor --token-file ada.token
  edgewright fleet devices pin gate-7 model-1.0.2 --token-file ada.token
  edgewright fleet devices unpin gate-7 --token-file ada.token
  edgewright fleet devices target-token gate-8 --token-file ada.token > gate-8.token
  edgewright fleet groups gateway-token shop --token-file ada.token > shop.token
  edgewright fleet rollouts create plan.toml --token-file ada.token
  edgewright fleet rollouts submit r1 --token-file ada.token
  edgewright fleet rollouts explain r1 --token-file ada.token
  edgewright fleet audit verify --database fleet.db
  edgewright fleet audit export --database fleet.db > audit.jsonl
  edgewright fleet audit verify audit.jsonl --expect sha256:41d7…

The server's address comes from --server or EDGEWRIGHT_FLEET, the token from --token-file or EDGEWRIGHT_FLEET_TOKEN. docs/fleet.md
"""
DEFAULT_PORT = 8430
_DATABASE_HELP = "a file for SQLite, or postgresql://USER:PASSWORD@HOST/DATABASE"


def add_verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    """Add a command, with those of the examples that are its own."""
    return verbs.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=examples_of(EXAMPLES, name),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_group(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse._SubParsersAction[argparse.ArgumentParser]:
    """Add a command that has actions, and return them."""
    return add_verb(verbs, name, text).add_subparsers(title="actions", metavar="ACTION", required=True)


def add_action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
    group: str,
    name: str,
    text: str,
    module: str,
) -> argparse.ArgumentParser:
    """Add an action; it is the function ``GROUP_NAME`` of ``fleet_MODULE`` that runs it."""
    parser = actions.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=examples_of(EXAMPLES, group),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    function = f"{group}_{name}".replace("-", "_")
    parser.set_defaults(run=f"host_tools.cli.fleet_{module}:{function}", action=name)
    return parser


def add_most(listing: argparse.ArgumentParser) -> None:
    """Add how many a list shows."""
    listing.add_argument("--most", type=count, default=1_000, metavar="N", help="at most (default: 1000)")


def add_client(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
    group: str,
    name: str,
    text: str,
    module: str = "asking",
) -> argparse.ArgumentParser:
    """Add an action that asks the server."""
    parser = add_action(actions, group, name, text, module)
    server = parser.add_argument_group("server")
    server.add_argument("--server", metavar="URL", help=f"(default: http://127.0.0.1:{DEFAULT_PORT})")
    server.add_argument("--token-file", metavar="FILE", help="has the token")
    server.add_argument("--ca", metavar="FILE", help="certificate of the server's authority, PEM")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def add_revoke(parser: argparse.ArgumentParser) -> None:
    """Add that a token is taken back."""
    parser.add_argument("--revoke", action="store_true", help="take it back; nothing is made")


def add_database(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add where the fleet's database is."""
    parser.add_argument("--database", required=required, metavar="DATABASE", help=_DATABASE_HELP)
