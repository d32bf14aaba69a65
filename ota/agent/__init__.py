"""What travels to the device: the standard library only, imports nothing of `ota`, Python 3.7 and later.

It runs for one dialogue and ends; it listens on no port. It runs on Linux boards.
"""
