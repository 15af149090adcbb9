"""`help [COMMAND]`, as the programs of the Torrust tracker have it beside `--help`."""

import click


@click.command("help")
@click.argument("name", metavar="[COMMAND]", required=False)
@click.pass_context
def help_command(context: click.Context, name: str | None) -> None:
    """Print this message or the help of the given command."""
    program = context.find_root()
    group = program.command
    assert isinstance(group, click.Group), "it is a command of one"
    if name is None:
        click.echo(program.get_help())
        return
    command = group.get_command(program, name)
    if command is None:
        raise click.UsageError(f"No such command '{name}'.", program)
    with click.Context(command, info_name=name, parent=program) as of_command:
        click.echo(command.get_help(of_command))
