"""What ties a login to the TLS connection that it was made on.  RFC 5056."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from OpenSSL import SSL

from moxsmtp.interfaces import ChannelBinding
from moxsmtp.tls.openssl import has_extended_master_secret, is_resumed

__all__ = ["channel_binding", "client_channel_binding"]

# RFC 9266 section 4.2: no context, so the empty one of section 2.
_LABEL: Final = b"EXPORTER-Channel-Binding"
_LENGTH: Final = 32


def channel_binding(connection: SSL.Connection) -> ChannelBinding | None:
    """
    The binding for the server's end after its handshake (T-12).

    @return: L{None} for a resumed session without extended master secret:
        somebody between could have made both ends agree on it (RFC 7627
        section 1).
    """
    if connection.get_protocol_version() >= SSL.TLS1_3_VERSION:
        return _exported(connection)
    return _unique(connection, connection.get_peer_finished, connection.get_finished)


def client_channel_binding(connection: SSL.Connection) -> ChannelBinding | None:
    """The same, for the client's end."""
    if connection.get_protocol_version() >= SSL.TLS1_3_VERSION:
        return _exported(connection)
    return _unique(connection, connection.get_finished, connection.get_peer_finished)


def _exported(connection: SSL.Connection) -> ChannelBinding:
    """With TLS 1.3."""
    return ChannelBinding("tls-exporter", connection.export_keying_material(_LABEL, _LENGTH, b""))


def _unique(
    connection: SSL.Connection,
    of_client: Callable[[], bytes | None],
    of_server: Callable[[], bytes | None],
) -> ChannelBinding | None:
    """
    Before TLS 1.3: the first Finished message, which is the client's in a
    full handshake and the server's in one that resumes a session.  RFC 5929
    section 3.1.
    """
    if not is_resumed(connection):
        finished = of_client()
    elif has_extended_master_secret(connection):
        finished = of_server()
    else:
        return None
    return None if finished is None else ChannelBinding("tls-unique", finished)
