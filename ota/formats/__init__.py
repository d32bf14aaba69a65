"""Text to core values: the only room that knows YAML; all faults of a file are reported together."""
