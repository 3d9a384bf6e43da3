"""`python -m hakaru`."""

from hakaru.cli import main

if __name__ == "__main__":
    main()
