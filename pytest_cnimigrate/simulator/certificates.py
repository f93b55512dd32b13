"""A certificate authority and a server certificate of its own for one embedded cluster."""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path


class TlsUnavailableError(RuntimeError):
    """TLS was asked for, and the package that makes certificates is not installed."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A server's certificate and key, and the authority that a client verifies it with (all PEM)."""

    chain: bytes
    key: bytes
    authority: bytes

    @classmethod
    def issue(cls, host: str) -> Certificate:
        """A fresh authority and a certificate of it; raises `TlsUnavailableError`."""
        try:
            import trustme
        except ImportError as error:
            raise TlsUnavailableError(
                "the embedded cluster speaks TLS with `pip install trustme` only"
            ) from error
        authority = trustme.CA()
        issued = authority.issue_cert(host, "localhost")
        return cls(
            b"".join(blob.bytes() for blob in issued.cert_chain_pems),
            issued.private_key_pem.bytes(),
            authority.cert_pem.bytes(),
        )

    def server_context(self) -> ssl.SSLContext:
        """For the listening side. Python's ssl reads files only: they exist for the call, 0600."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        with tempfile.TemporaryDirectory() as folder:
            chain, key = Path(folder, "chain.pem"), Path(folder, "key.pem")
            for path, content in ((chain, self.chain), (key, self.key)):
                path.touch(mode=0o600)
                path.write_bytes(content)
            context.load_cert_chain(chain, key)
        return context
