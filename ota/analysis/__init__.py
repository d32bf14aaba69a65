"""Pure functions on what devices answered: metrics over an evaluation set, and whether two devices agree."""
