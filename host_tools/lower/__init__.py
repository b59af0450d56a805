"""Lower: a plan becomes a file, one lowering per format. `lowering.lower` picks the one that a profile asks for."""
