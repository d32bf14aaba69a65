"""Decisions and values, pure: no disk, clock, network, randomness, logging, print or third-party import."""
