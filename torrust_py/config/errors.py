"""What is wrong with a configuration, for the operator."""


class ConfigError(Exception):
    """The configuration cannot be used. One line that names the option or source and the remedy, never a
    secret.
    """

    def __init__(self, text: str) -> None:
        super().__init__(one_line(text))


def one_line(text: str) -> str:
    """`text` as it can be printed on one line of any terminal: line breaks and the like are escaped."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
