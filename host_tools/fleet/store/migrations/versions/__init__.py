"""One file a version; none is ever changed once it was in a release."""
