"""`python -m ota` is `ota`."""

from ota.cli.main import main

if __name__ == "__main__":
    main()
