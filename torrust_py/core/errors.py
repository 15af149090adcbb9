"""Errors by reader: the text of a `TrackerError` goes to the client, of a `DatabaseError` to the operator."""

from torrust_py.core.types import InfoHash


class TrackerError(Exception):
    """The tracker refuses a request that was well-formed; the text is for its client."""


class NotWhitelisted(TrackerError):
    def __init__(self, info_hash: InfoHash) -> None:
        super().__init__(f"The torrent: {info_hash.hex()}, is not whitelisted")


class AuthenticationError(TrackerError):
    """A private tracker does not know who announces."""


class KeyMissing(AuthenticationError):
    def __init__(self) -> None:
        super().__init__("Missing authentication key param for private tracker.")


class KeyUnknown(AuthenticationError):
    def __init__(self, key: str) -> None:
        super().__init__(f"Failed to read key: {key}")


class KeyExpired(AuthenticationError):
    def __init__(self) -> None:
        super().__init__("Key has expired")


class BadConnectionId(TrackerError):
    def __init__(self) -> None:
        super().__init__("connection id could not be verified")


class BadKey(ValueError):
    """A text that cannot be a key: its text says why."""


class DatabaseError(Exception):
    """The database did not do what it was asked; the text names it and what failed, never a password."""


class ChangeInDoubt(DatabaseError):
    """The database was told to make a change, and did not say whether it has."""
