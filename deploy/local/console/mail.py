"""A mail server that keeps everything and sends nothing on."""

import email
import email.policy
from pathlib import Path
from typing import Any

from aiosmtpd.controller import UnthreadedController
from aiosmtpd.smtp import SMTP, Envelope, Session

from shared.ids import new_id


class Catcher:
    """Each mail becomes `<time-sorted id>.eml`, whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        path = self._folder / f"{new_id()}.eml"
        part = path.with_suffix(".part")
        part.write_bytes(envelope.original_content or b"")
        part.rename(path)
        return "250 kept"


def start(folder: Path, port: int, loop: Any) -> UnthreadedController:
    controller = UnthreadedController(Catcher(folder), hostname="127.0.0.1", port=port, loop=loop)
    controller.begin()  # type: ignore[no-untyped-call] # aiosmtpd's own is untyped
    return controller


def list_mails(folder: Path, limit: int = 200) -> list[dict[str, str]]:
    """Newest first."""
    found = []
    for path in sorted(folder.glob("*.eml"), reverse=True)[:limit]:
        message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        body = message.get_body(("plain", "html"))
        found.append(
            {
                "id": path.stem,
                "to": str(message["To"]),
                "subject": str(message["Subject"]),
                "date": str(message["Date"]),
                "text": "" if body is None else str(body.get_content()),
            }
        )
    return found
