import asyncio
import contextlib
import logging
import os
import ssl
from pathlib import Path

import pytest

from tests.certificates import make_certificate
from torrust_py import jobs
from torrust_py.certificates import Certificate, Certificates, open_tls
from torrust_py.listeners import StartError


def test_a_missing_certificate_is_named() -> None:
    with pytest.raises(
        StartError, match=r"the API: cannot read the TLS certificate /nowhere/x\.crt: No such file"
    ):
        open_tls("/nowhere/x.crt", "/nowhere/x.key", service="the API")


def test_files_that_are_no_certificate_are_named(tmp_path: Path) -> None:
    cert, key = tmp_path / "x.crt", tmp_path / "x.key"
    cert.write_text("garbage")
    key.write_text("garbage")
    with pytest.raises(StartError, match="cannot be used") as refused:
        open_tls(str(cert), str(key), service="the HTTP tracker")
    assert str(cert) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return make_certificate(tmp_path)


@pytest.fixture
def certificate_in_use(files: tuple[Path, Path]) -> Certificate:
    return Certificate(*map(str, files), service="the API")


def presented(context: ssl.SSLContext, *, name: str | None = None) -> bytes:
    """The certificate that a client gets which names this server, or none."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    client = trusting.wrap_bio(to_client, to_server, server_hostname=name)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(2):
        for end in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    certificate = client.getpeercert(binary_form=True)
    assert certificate is not None
    return certificate


def der(cert: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(cert.read_text())


def renew(files: tuple[Path, Path], tmp_path: Path) -> None:
    """Another certificate and key, by which the files are replaced as certbot does it."""
    new = tmp_path / "new"
    new.mkdir(exist_ok=True)
    for fresh, old in zip(make_certificate(new), files, strict=True):
        os.replace(fresh, old)


@pytest.mark.parametrize("name", [None, "tracker.example"])
def test_changed_files_are_presented_from_the_next_handshake_on(
    certificate_in_use: Certificate, files: tuple[Path, Path], tmp_path: Path, name: str | None
) -> None:
    old = der(files[0])
    assert presented(certificate_in_use.context, name=name) == old
    renew(files, tmp_path)
    assert presented(certificate_in_use.context, name=name) == old
    certificate_in_use.refresh(always=False)
    assert presented(certificate_in_use.context, name=name) == der(files[0]) != old


def test_what_cannot_be_used_is_told_once_and_the_old_one_stays(
    certificate_in_use: Certificate,
    files: tuple[Path, Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cert, key = files
    old, old_key = der(cert), key.read_bytes()
    renew(files, tmp_path)
    new = der(cert)
    renewed_key = key.read_bytes()
    key.write_bytes(old_key)
    for _ in range(3):
        certificate_in_use.refresh(always=False)
    assert presented(certificate_in_use.context) == old
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        f"A changed certificate is not taken up, the old one stays: the API: the TLS certificate {cert} and "
        f"key {key} cannot be used: KEY_VALUES_MISMATCH. Both must be PEM files that belong together, the "
        f"key without a passphrase"
    )
    key.write_bytes(renewed_key)
    os.utime(key, (1, 1))
    certificate_in_use.refresh(always=False)
    assert presented(certificate_in_use.context) == new


@pytest.mark.parametrize("damage", ["empty", "away"])
def test_a_broken_file_is_refused_whenever_the_operator_asks(
    certificate_in_use: Certificate, files: tuple[Path, Path], caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    old = der(files[0])
    files[0].write_text("")
    if damage == "away":
        files[0].unlink()
    for _ in range(2):
        certificate_in_use.refresh(always=True)
    assert presented(certificate_in_use.context) == old
    assert [str(files[0]) in record.getMessage() for record in caplog.records] == [True, True]


def test_a_session_of_before_is_resumed_after_the_change(
    certificate_in_use: Certificate, files: tuple[Path, Path], tmp_path: Path
) -> None:
    certificate_in_use.context.maximum_version = ssl.TLSVersion.TLSv1_2  # whose sessions are here at once
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    session: ssl.SSLSession | None = None
    for _ in range(2):
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = trusting.wrap_bio(to_client, to_server, session=session)
        server = certificate_in_use.context.wrap_bio(to_server, to_client, server_side=True)
        for _ in range(3):
            for end in (client, server):
                with contextlib.suppress(ssl.SSLWantReadError):
                    end.do_handshake()
        assert client.session_reused == (session is not None)
        session = client.session
        renew(files, tmp_path)
        certificate_in_use.refresh(always=False)


async def test_files_are_looked_at_by_the_clock_and_when_asked(
    certificate_in_use: Certificate,
    files: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "LOOK_INTERVAL", 0.01)
    certificates = Certificates()
    context = certificates.add(certificate_in_use)

    waits = 0
    has_looked = asyncio.Event()

    async def nobody_asks(seconds: float) -> bool:
        nonlocal waits
        waits += 1
        if waits == 2:
            has_looked.set()
        await asyncio.sleep(seconds)
        return False

    renew(files, tmp_path)
    job = asyncio.create_task(jobs.refresh_files(certificates.refresh, None, nobody_asks))
    async with asyncio.timeout(5):
        await has_looked.wait()
    job.cancel()
    assert presented(context) == der(files[0])


async def test_the_blacklist_is_read_anew_when_asked_and_not_by_the_clock() -> None:
    read: list[bool] = []

    class File:
        async def refresh(self) -> None:
            read.append(True)

    async def refresh(*, always: bool) -> None:
        read.append(always)

    answers = iter([False, True])

    async def asked(seconds: float) -> bool:
        try:
            return next(answers)
        except StopIteration:
            raise asyncio.CancelledError from None

    with pytest.raises(asyncio.CancelledError):
        await jobs.refresh_files(refresh, File(), asked)
    assert read == [False, True, True]
