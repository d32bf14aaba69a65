"""What is sent instead of a file: its difference to one that the device has, or itself compressed; `ota/agent/delta.py` makes the file again."""
