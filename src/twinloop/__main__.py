"""`python -m twinloop` is the `twinloop` program."""

from twinloop.cli import main

if __name__ == "__main__":
    main()
