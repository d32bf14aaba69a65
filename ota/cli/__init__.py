"""The thin outer floor: parses, wires, prints, exits. Nothing else prints or reads argv or the environment."""
