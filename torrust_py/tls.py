"""TLS between a TCP connection and the protocol that it carries.

The loop's own TLS tells a protocol of its connection once the handshake is over, so that a client counts for
nothing until then. Here it is a connection from the start: it counts, and its time runs.
"""

import asyncio
import contextlib
import ssl
from typing import Any, cast

PIECE_SIZE = 4 * 1024
"""The most bytes that are received at once, and sent in a record: buffers of a connection keep the size that
they once had for as long as it lives.
"""

_RECORD_SIZE = 16 * 1024  # the most bytes of a record (RFC 8446, 5.1)
_received = memoryview(bytearray(PIECE_SIZE))  # for all connections: it is copied before the next receives


class TlsConnection(asyncio.BufferedProtocol, asyncio.Transport):
    """The server's end of a connection: the protocol of a TCP transport, and the transport of `protocol`.

    `protocol` hears of it before the handshake, and may close it at any time. It must not write before it has
    received something.
    """

    def __init__(self, protocol: asyncio.Protocol, context: ssl.SSLContext) -> None:
        super().__init__()
        self._protocol = protocol
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._context = context
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.is_established = False
        """The handshake is over."""
        self._is_reading = True
        self._has_ended = False
        """Nothing more is sent, and what comes is dropped."""
        self._is_advancing = False
        """Something has come, and is being handled: what is to be sent is collected meanwhile."""

    # --- what the TCP transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # what it is, though uvloop's is no subclass
        self._protocol.connection_made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        self._protocol.connection_lost(exc)
        del self._protocol  # it refers to this connection

    def get_buffer(self, sizehint: int) -> memoryview:
        return _received

    def buffer_updated(self, nbytes: int) -> None:
        if not self._has_ended:
            self._incoming.write(_received[:nbytes])
            self._advance()

    def eof_received(self) -> None:
        if self.is_established and not self._has_ended:
            self._protocol.eof_received()
        self.close()

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def _advance(self) -> None:
        """Make what one can of what has come."""
        self._is_advancing = True
        try:
            if not self.is_established:
                self._tls.do_handshake()
                self.is_established = True
            self._deliver()
        except ssl.SSLWantReadError:
            pass  # the rest of it is still to come
        except ssl.SSLError:  # it is no TLS, or not of a kind that both know; what is sent is an alert
            self.is_established = False
            self.close()
        finally:
            self._is_advancing = False
        self._flush()

    def _deliver(self) -> None:
        # Reading what is not there would raise, which costs more than to ask.
        while self._is_reading and (self._incoming.pending or self._tls.pending()):
            data = self._tls.read(_RECORD_SIZE)
            if not data:  # the client will send nothing more
                self._protocol.eof_received()
                self.close()
                return
            self._protocol.data_received(data)

    def _flush(self) -> None:
        if self._outgoing.pending and not self._has_ended:
            self._transport.write(self._outgoing.read())

    # --- what the protocol calls

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # as asyncio declares it
        return self._context if name == "sslcontext" else self._transport.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size() + self._outgoing.pending

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._has_ended:
            return
        for at in range(0, len(data), PIECE_SIZE):
            self._tls.write(data[at : at + PIECE_SIZE])
            if not self._is_advancing or self._outgoing.pending > PIECE_SIZE:
                self._flush()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Say that nothing more comes. What the client goes on sending is dropped until it closes."""
        self._say_goodbye()
        self._flush()
        self._end()
        self._transport.write_eof()

    def pause_reading(self) -> None:
        self._is_reading = False
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._has_ended:
            self._is_reading = True
            asyncio.get_running_loop().call_soon(self._resume)

    def _resume(self) -> None:
        """Deliver what is here already, then let more come."""
        if self._is_reading:
            self._advance()
        if self._is_reading:
            self._transport.resume_reading()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        """Send what is being sent, then close, without waiting for the client to agree (RFC 8446, 6.1)."""
        if self.is_established and not self._has_ended:
            self._say_goodbye()
        self._flush()
        self._end()
        self._transport.close()

    def abort(self) -> None:
        self._end()
        self._transport.abort()

    def _say_goodbye(self) -> None:
        with contextlib.suppress(ssl.SSLError):  # the client has not said its own
            self._tls.unwrap()

    def _end(self) -> None:
        self._is_reading = False
        self._has_ended = True
