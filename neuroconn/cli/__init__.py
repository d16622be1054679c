"""The command line: a lazy group, one module per command.

Each module of this folder named in ``COMMANDS`` holds one click command called ``command``. It is
imported when asked for, so that ``neuroconn --help`` waits for neither torch nor dask.
"""

from __future__ import annotations

import importlib
import logging
import os
import select
import sys

import click

from neuroconn._version import __version__
from neuroconn.errors import NeuroconnError

COMMANDS = {
    "info": "Say what a file or folder is, and what a conversion will need to be told.",
    "convert": "Turn a microscopy volume into an OME-Zarr brain.",
    "dataset": "Cut crops to train on out of annotated brains.",
    "train": "Train a network on phantoms and annotated brains.",
    "infer": "Predict the distance map of a brain by walking along its neurites.",
    "trace": "Trace the neurites of a distance map into SWC.",
    "export": "Write brain and distance map as tiles that Vaa3D opens.",
    "evaluate": "Score a prediction against an annotation.",
    "verify": "Check a store against its checksums and its journal.",
    "check-vaa3d": "Check any TeraFly tree against the rules of the format, and mend it.",
    "status": "Say how far a run has come.",
    "report": "Write the report of a run as one HTML file.",
    "demo": "Run convert, infer and export on a small real volume.",
    "doctor": "Say what this machine and this model can do.",
    "presets": "List, show and check presets.",
}
"""Name and one-line help of every command, in the order of a day's work."""


class LazyGroup(click.Group):
    """A group that imports a command when it is named and turns known errors into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the command names in working order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"neuroconn.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List commands from the table above, importing none of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the nearest name when a command does not exist."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; a known failure is one line on stderr and its own exit code."""
        try:
            return super().invoke(ctx)
        except NeuroconnError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(error.exit_code)
        except BrokenPipeError:
            if not _nobody_reads():
                raise  # a connection broke; the same error, and no reason to call it a success
            # A pipe closed by `head` is not an error worth a traceback.
            sys.stderr.close()
            ctx.exit(0)


def _nobody_reads() -> bool:
    """Whether what stdout leads to has been closed.

    The signal for it is left alone, for it does not tell stdout from a connection to a worker that
    died, and it would end the process.
    """
    try:
        waiting = select.poll()
        waiting.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in waiting.poll(0))
    except (AttributeError, OSError, ValueError):  # no such call here, or no such file
        return False


@click.group(
    cls=LazyGroup,
    context_settings={"auto_envvar_prefix": "NEUROCONN", "help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="neuroconn")
@click.option("-v", "--verbose", count=True, help="Log more; twice for debugging.")
@click.option("-q", "--quiet", is_flag=True, help="Log errors only, and show no progress.")
@click.pass_context
def main(ctx: click.Context, verbose: int, quiet: bool) -> None:
    """Distance maps of neurites that do not break axons, from terabyte brains to Vaa3D."""
    level = (
        logging.ERROR if quiet else [logging.WARNING, logging.INFO, logging.DEBUG][min(verbose, 2)]
    )
    logging.basicConfig(
        level=level, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
    ctx.ensure_object(dict)["quiet"] = quiet
    if verbose < 2:
        # Dask reads it when imported, here and in the workers: its INFO lines are a page a run.
        os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "warning")


if __name__ == "__main__":
    main()
