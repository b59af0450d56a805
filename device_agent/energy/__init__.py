"""Energy per inference: what a device draws for one inference, gross and above its idle, with how far that can be trusted."""
