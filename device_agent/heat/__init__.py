"""Heat: what the agent does when the device gets too hot, and when it has cooled down again."""
