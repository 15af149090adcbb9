"""The program `torrust-tracker`, and `python -m torrust_py`: what has to be so before anything else is
imported.
"""

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Run the program of `torrust_py.console.tracker`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop_before_anything_runs)
    signal.signal(signal.SIGHUP, _read_anew_before_anything_is_read)
    _open_standard_streams()
    from torrust_py.console.tracker import main as run  # late: a signal may come while it is imported

    run()


def _stop_before_anything_runs(number: int, frame: FrameType | None) -> None:
    os._exit(0)  # an import that is under way could swallow SystemExit


def _read_anew_before_anything_is_read(number: int, frame: FrameType | None) -> None:
    """All will be read in any case; without this the signal would end the process."""


def _open_standard_streams() -> None:
    """Without them the next file or socket would be taken for one."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest descriptor, which is this one
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (for as long as the process lives)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (for as long as the process lives)


if __name__ == "__main__":
    main()
