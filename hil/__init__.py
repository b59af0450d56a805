"""Hardware in the loop: rigs, suites and scenarios. Nothing here yet; the agent and the converter come first."""
