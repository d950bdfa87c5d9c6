"""Makes a self-signed certificate for one run, with the ``openssl`` command, because Python's `ssl` cannot make one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def self_signed() -> Iterator[tuple[str, str]]:
    """Files with a certificate (ECDSA, P-256) and its key, gone afterwards. FileNotFoundError: there is no openssl."""
    with TemporaryDirectory(prefix="roost-bench-") as folder:
        certificate, key = Path(folder, "certificate.pem"), Path(folder, "key.pem")
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        files = ["-keyout", str(key), "-out", str(certificate)]
        subprocess.run(
            ["openssl", "req", "-x509", *kind, "-subj", "/CN=localhost", *files], check=True, capture_output=True
        )
        yield str(certificate), str(key)
