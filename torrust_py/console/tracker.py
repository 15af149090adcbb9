"""`torrust-tracker`, the daemon."""

import asyncio
import contextlib
import gc
import logging
import os
import sys
from collections.abc import Coroutine
from importlib.metadata import version
from pathlib import Path

import click

from torrust_py.config import ConfigError, default_config, load_config
from torrust_py.console.doctor import doctor
from torrust_py.console.snapshot import snapshot
from torrust_py.logs import start_logging, write_at_once
from torrust_py.memory import use_one_heap

_HELP = """
BitTorrent tracker: UDP, HTTP, REST API and health check in one process.

It is configured by a TOML document and by the environment, as the Torrust tracker is:

\b
  TORRUST_TRACKER_CONFIG_TOML            the document itself, or
  TORRUST_TRACKER_CONFIG_TOML_PATH       the path of its file, or
  ./tracker.toml                         if neither is set
  TORRUST_TRACKER_CONFIG_OVERRIDE_<PATH> one option; __ separates the levels:
                                         ..._OVERRIDE_HTTP_API__ACCESS_TOKENS__ADMIN=<secret>
  TORRUST_TRACKER_DATA_PLANE             portable or native: force a form of the data plane

A first configuration:

\b
  torrust-tracker --print-default-config > tracker.toml
  mkdir -p storage/tracker/lib/database
  torrust-tracker

SIGINT or SIGTERM stops it cleanly; a second one at once. What the swarms were then is kept where
core.snapshot.path says, and read at the next start:

\b
  torrust-tracker snapshot info FILE     what is in such a file

What hurts it, or will, and the remedy:

\b
  torrust-tracker doctor                 checks configuration, host and the tracker that runs
"""


def _print_default_config(context: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        click.echo(default_config(), nl=False)
        context.exit()


@click.group(help=_HELP, invoke_without_command=True, context_settings={"max_content_width": 100})
@click.option(
    "--print-default-config",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_default_config,
    help="Print a configuration to start from, each option commented, and exit.",
)
@click.version_option(version("torrust_py"), prog_name="torrust-tracker")
@click.pass_context
def main(context: click.Context) -> None:
    if context.invoked_subcommand is None:
        sys.exit(_start())


main.add_command(snapshot)
main.add_command(doctor)


def _start() -> int:
    """Run the daemon; its exit status."""
    try:
        loaded = load_config(os.environ, Path.cwd())
    except ConfigError as error:
        return _fail(str(error))
    except FileNotFoundError:
        return _fail("the working directory does not exist any more; start it in another")
    with contextlib.suppress(OSError):  # nobody reads it
        write_at_once("\n".join(loaded.announcement) + "\n", sys.stdout)
    config = loaded.config
    start_logging(config.logging.threshold)
    logging.getLogger("torrust_tracker::bootstrap::logging").info("Logging initialized")
    gc.disable()  # until all is built: nothing of it is garbage
    use_one_heap()
    # Only now, so that --help and a wrong configuration answer at once.
    from torrust_py.app import run
    from torrust_py.core.errors import DatabaseError
    from torrust_py.listeners import StartError

    try:
        _run(run(config, data_plane=os.environ.get("TORRUST_TRACKER_DATA_PLANE")))
    except (StartError, DatabaseError) as error:
        return _fail(str(error))
    return 0


def _fail(reason: str) -> int:
    # A path may hold anything, and the reason is one line.
    line = "".join(each if each.isprintable() else repr(each)[1:-1] for each in reason)
    print(f"torrust-tracker: {line}", file=sys.stderr, flush=True)
    return 1


def _run(daemon: Coroutine[None, None, None]) -> None:
    """Run it on uvloop; on asyncio's own loop where uvloop does not exist."""
    try:
        import uvloop
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(daemon)
