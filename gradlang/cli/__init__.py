"""The command line: `gradlang run FILE` and its sisters."""

from gradlang.cli.main import main

__all__ = ["main"]
