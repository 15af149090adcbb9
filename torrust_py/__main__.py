"""`python -m torrust_py` is the daemon."""

from torrust_py.console.tracker import main

main()
