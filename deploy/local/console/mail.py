"""A mail server that keeps everything and sends nothing on."""

import asyncio
import email
import email.policy
from pathlib import Path

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


async def start(folder: Path, port: int) -> asyncio.Server:
    catcher = Catcher(folder)
    return await asyncio.get_running_loop().create_server(lambda: SMTP(catcher), "127.0.0.1", port)


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
