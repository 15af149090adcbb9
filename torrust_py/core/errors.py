"""Errors by reader: the text of a `TrackerError` goes to the client, of a `DatabaseError` to the operator."""

from typing import ClassVar

from torrust_py.core.statistics import Reason
from torrust_py.core.types import InfoHash


class TrackerError(Exception):
    """The tracker refuses a request that was well-formed; the text is for its client."""

    reason: ClassVar[Reason]
    """By which it is counted; each class that is raised has one."""


class TorrentRefused(TrackerError):
    """The tracker does not serve the torrent."""


class NotWhitelisted(TorrentRefused):
    reason = Reason.NOT_WHITELISTED

    def __init__(self, info_hash: InfoHash) -> None:
        super().__init__(f"The torrent: {info_hash.hex()}, is not whitelisted")


class Blacklisted(TorrentRefused):
    reason = Reason.BLACKLISTED

    def __init__(self, info_hash: InfoHash, reason: str | None) -> None:
        because = "" if reason is None else f": {reason}"
        super().__init__(f"The torrent: {info_hash.hex()}, is blacklisted{because}")


class AuthenticationError(TrackerError):
    """A private tracker does not know who announces."""


class KeyMissing(AuthenticationError):
    reason = Reason.KEY_MISSING

    def __init__(self) -> None:
        super().__init__("Missing authentication key param for private tracker.")


class KeyUnknown(AuthenticationError):
    reason = Reason.KEY_UNKNOWN

    def __init__(self, key: str) -> None:
        super().__init__(f"Failed to read key: {key}")


class KeyExpired(AuthenticationError):
    reason = Reason.KEY_EXPIRED

    def __init__(self) -> None:
        super().__init__("Key has expired")


class BadConnectionId(TrackerError):
    reason = Reason.BAD_CONNECTION_ID

    def __init__(self) -> None:
        super().__init__("connection id could not be verified")


class BadKey(ValueError):
    """A text that cannot be a key: its text says why."""


class BadReason(ValueError):
    """A text that cannot be the reason of a blacklisting: its text says why, after `it`."""


class ListedByFile(Exception):
    """The blacklist's file alone has the torrent, and only the operator changes that."""

    def __init__(self, info_hash: InfoHash) -> None:
        super().__init__(
            f"The torrent {info_hash.hex()} is blacklisted by the file of core.blacklist_path alone: "
            "take its line out, and send SIGHUP to the tracker"
        )


class DatabaseError(Exception):
    """The database did not do what it was asked; the text names it and what failed, never a password."""


class ChangeInDoubt(DatabaseError):
    """The database was told to make a change, and did not say whether it has."""
