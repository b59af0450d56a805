"""`RoleKeys`: which keys sign which role, from its first signature to new keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tuf.api.metadata import DelegatedRole, Delegations, Root, Targets

from host_tools.errors import InputError
from host_tools.repository.roles import MODEL_PREFIX, rule_of
from host_tools.repository.signed_folder import TOP, expires

if TYPE_CHECKING:
    from collections.abc import Sequence

    from securesystemslib.signer import Signer

    from host_tools.repository.keys import KeyRing
    from host_tools.repository.signed_folder import SignedFolder


class RoleKeys:
    """The keys of a repository's roles.

    Args:
        signed: The repository's metadata.
        keys: Private keys.
    """

    def __init__(self, signed: SignedFolder, keys: KeyRing) -> None:
        self._signed = signed
        self._keys = keys

    def delegate(self, targets: Targets, role: str, patterns: list[str]) -> None:
        """Let a role sign what its patterns name, with keys that are made where it has none.

        Args:
            targets: Of the role ``targets``, which delegates; it is not signed here.
            role: The new one.
            patterns: Of the targets' names.
        """
        rule = rule_of(role)
        if targets.delegations is None:
            targets.delegations = Delegations({}, {})
        roles = cast("dict[str, DelegatedRole]", targets.delegations.roles)
        roles[role] = DelegatedRole(role, [], rule.threshold, terminating=True, paths=patterns)
        for signer in self._keys.of(role) or self._keys.make(role, rule.keys):
            targets.add_key(signer.public_key, role)

    def role_of_model(self, model: str) -> tuple[str, Targets]:
        """Return the role that signs a model's artifacts, and what it signs now; it is made with a model's first artifact.

        Raises:
            InputError: A key is missing, or the repository is damaged.
            OutputError: It cannot be written.
        """
        role = f"{MODEL_PREFIX}{model}"
        if not self._signed.version(role):
            targets = self._signed.targets("targets")
            self.delegate(targets, role, [f"models/{model}/*"])
            self._signed.renew({"targets": targets, role: Targets(expires=expires(role))})
        return role, self._signed.targets(role)

    def rotate(self, role: str, uris: Sequence[str]) -> None:
        """Give a role new keys and take the old ones from it; see `Repository.rotate`."""
        if role in TOP:
            self._rotate_top(role, self._keys.of(role), uris)
            return
        targets = self._signed.targets("targets")
        if targets.delegations is None or role not in (targets.delegations.roles or {}):
            raise InputError(f"role {role!r} is unknown.")
        signed = self._signed.targets(role)
        new = self._new(role, uris)
        for keyid in list(cast("dict[str, DelegatedRole]", targets.delegations.roles)[role].keyids):
            targets.revoke_key(keyid, role)
        for signer in new:
            targets.add_key(signer.public_key, role)
        self._signed.renew({"targets": targets, role: signed})

    def sign_root_anew(self, root: Root, *, also: Sequence[Signer] = ()) -> None:
        """Sign the next version of a root.

        Raises:
            InputError: A key is missing.
            OutputError: It cannot be written.
        """
        root.version += 1
        root.expires = expires("root")
        self._signed.put_root(root, also=also)

    def _rotate_top(self, role: str, old: Sequence[Signer], uris: Sequence[str]) -> None:
        root = self._signed.root()
        # Before anything is made: devices follow a new root only when enough of the keys that they trust have signed it.
        trusted = root.roles["root"]
        here = sum(one.public_key.keyid in trusted.keyids for one in self._keys.of("root"))
        if here < trusted.threshold:
            raise InputError(f"role 'root': {trusted.threshold} keys must sign, {here} are here.")
        new = self._new(role, uris)
        signed = {"targets": self._signed.targets("targets")} if role == "targets" else {}
        if role != "root":
            # Whoever knows the old root, and whoever will know the new one, is to find enough signatures.
            self._signed.renew(signed, also={role: new})
        for keyid in list(root.roles[role].keyids):
            root.revoke_key(keyid, role)
        for signer in new:
            root.add_key(signer.public_key, role)
        self.sign_root_anew(root, also=old if role == "root" else ())
        self._signed.renew(signed)

    def _new(self, role: str, uris: Sequence[str]) -> list[Signer]:
        count = rule_of(role).keys
        if not uris:
            return self._keys.make(role, count)
        if len(uris) != count:
            raise InputError(f"role {role!r}: expected {count} keys, got {len(uris)} URIs.")
        return self._keys.adopt(role, uris)
