"""Over-the-air model updates for neural networks on microcomputers.

`ota` quantizes a trained network under every scheme, measures each candidate on the devices themselves, selects the one
with the least objective L and rolls it out with verification and rollback. ARCHITECTURE.md draws the house.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
