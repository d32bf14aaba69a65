"""Hands on devices: connections over SSH or on this machine, the dialogue with the agent, and work on many hosts at once."""
