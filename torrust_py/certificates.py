"""The certificates of services that speak TLS; a changed one is taken up while they run."""

import asyncio
import logging
import os
import ssl

from torrust_py.listeners import StartError

_log = logging.getLogger("torrust_tracker::bootstrap::app")


class Certificate:
    """A certificate chain and its key, two PEM files, as one service uses them. Raises StartError.

    `context` is the service's for as long as it runs. New connections get the chain that was last taken up;
    sessions of before can still be resumed.
    """

    def __init__(self, cert_path: str, key_path: str, *, service: str) -> None:
        self._cert_path = cert_path
        self._key_path = key_path
        self._service = service
        self._seen = self._look()
        self.context = self._current = open_tls(cert_path, key_path, service=service)
        self.context.sni_callback = self._present

    def refresh(self, *, always: bool) -> None:
        """Take up files that have changed; `always`: also files that look as before. What cannot be used is a
        warning, and the old chain stays.
        """
        seen = self._look()
        if seen == self._seen and not always:
            return
        self._seen = seen
        try:
            self._current = open_tls(self._cert_path, self._key_path, service=self._service)
        except StartError as error:
            _log.warning("A changed certificate is not taken up, the old one stays: %s", error)
        else:
            _log.info("The certificate of %s is read anew: %s", self._service, self._cert_path)

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(path) for path in (self._cert_path, self._key_path)]

    def _present(self, client: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """The library asks at each handshake, whether the client names a server or not."""
        if self._current is not context:
            client.context = self._current


class Certificates:
    """Those of all services."""

    def __init__(self) -> None:
        self._all: list[Certificate] = []

    def add(self, certificate: Certificate) -> ssl.SSLContext:
        self._all.append(certificate)
        return certificate.context

    async def refresh(self, *, always: bool) -> None:
        """Look at their files, and take up what has changed."""
        for certificate in self._all:
            await asyncio.to_thread(certificate.refresh, always=always)


def _stamp(path: str) -> tuple[int, int, int] | None:
    """What changes with a file; None if it cannot be looked at."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def open_tls(cert_path: str, key_path: str, *, service: str) -> ssl.SSLContext:
    """A server's context of TLS 1.2 and 1.3 with this certificate chain and key (PEM files). Raises
    StartError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.num_tickets = 1  # a client of TLS 1.3 gets another with each connection
    for path, what in ((cert_path, "certificate"), (key_path, "private key")):
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise StartError(
                f"{service}: cannot read the TLS {what} {path}: {error.strerror}. "
                f"Give the path of a PEM file that this user may read in tsl_config"
            ) from error
    try:
        context.load_cert_chain(cert_path, key_path, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        reason = error.reason if isinstance(error, ssl.SSLError) and error.reason else error
        raise StartError(
            f"{service}: the TLS certificate {cert_path} and key {key_path} cannot be used: {reason}. "
            f"Both must be PEM files that belong together, the key without a passphrase"
        ) from error
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted")
