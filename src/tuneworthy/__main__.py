"""`python -m tuneworthy`: the command line."""

from tuneworthy.cli import main

if __name__ == "__main__":
    main()
