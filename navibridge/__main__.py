"""`python -m navibridge`, and the program `navibridge`."""

from __future__ import annotations

from navibridge.cli import app


def main() -> None:
    """Run the program; ends it with its exit code."""
    app(prog_name="navibridge")


if __name__ == "__main__":
    main()
