"""What ties a login to the TLS connection that it was made on.  RFC 5056."""

from __future__ import annotations

from typing import Final

from OpenSSL import SSL

from moxsmtp.interfaces import ChannelBinding
from moxsmtp.tls.openssl import has_extended_master_secret, is_resumed

__all__ = ["channel_binding"]

# RFC 9266 section 4.2: no context, so the empty one of section 2.
_LABEL: Final = b"EXPORTER-Channel-Binding"
_LENGTH: Final = 32


def channel_binding(connection: SSL.Connection) -> ChannelBinding | None:
    """
    The binding for the server's end after its handshake (T-12).

    With TLS 1.3 C{tls-exporter}; before, C{tls-unique}: the first Finished
    message, which is the client's in a full handshake and ours in one that
    resumes a session.  RFC 5929 section 3.1.

    @return: L{None} for a resumed session without extended master secret:
        somebody between could have made both ends agree on it (RFC 7627
        section 1).
    """
    if connection.get_protocol_version() >= SSL.TLS1_3_VERSION:
        data = connection.export_keying_material(_LABEL, _LENGTH, b"")
        return ChannelBinding("tls-exporter", data)
    if not is_resumed(connection):
        finished = connection.get_peer_finished()
    elif has_extended_master_secret(connection):
        finished = connection.get_finished()
    else:
        return None
    return None if finished is None else ChannelBinding("tls-unique", finished)
