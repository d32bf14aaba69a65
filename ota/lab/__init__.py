"""Virtual microcomputers: real OpenSSH daemons of the current user on loopback, for trying everything without hardware.

Each has a host key, a home, a `python3` and a line of its own rate and delay. What they share is the machine: kernel, processors, disk.
"""
