"""One file a kind of rig. Each has ``open_rig(board, folder) -> Rig``, and stands in `hil.rig.KINDS`."""
