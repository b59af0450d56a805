"""A signed repository of artifacts (TUF): a folder of plain files that any web server or object store can serve.

Layout:

- `roles`: who signs what, how many keys must agree, how long it holds
- `keys`: private keys as files
- `role_keys`: which of them sign a role, from its first signature to new ones
- `desires`: how one desired state follows another
- `signed_folder`: the metadata on disk, whole whatever dies
- `signed_target`: what is signed of a target, and where its file lies
- `artifacts`: the models' artifacts
- `desired_states`: what devices run
- `repository`: add artifacts, say what devices run, renew, rotate keys
- `attestation`: what tests on a board showed of one artifact, as an in-toto statement
- `attestation_bundle`: the same signed, in a file
- `attestation_policy`: what a release asks of them

In the folder: ``metadata/`` and ``targets/``; in targets, ``models/NAME/FILE.ewa`` (role ``model-NAME``) and
``desired/device|group/NAME.json`` (role ``fleet``). Keys lie elsewhere: those of root, targets and models need no network.
"""
