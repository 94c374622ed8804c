"""The main job, step by step, through the gateway only."""

import asyncio
import email
import email.policy
import secrets
import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import Progress

from deploy.local.demo.client import Person, check
from deploy.local.demo.files import category, choose, filler
from shared.sizes import format_bytes

AT_ONCE = 4  # uploads under way together
PINGS = 40  # small uploads timed one by one
MARGIN = 4096  # bytes past a threshold, so that it is crossed and not met
HIDDEN = ("trashed_bytes", "trashed_files", "version_bytes", "version_files")
SUMMED = {"total_size": "used", "file_count": "files", **dict(zip(HIDDEN, HIDDEN, strict=True))}  # part, total


class Demo:
    """What the steps know of the stack and of each other."""

    def __init__(self, status: dict[str, Any], folder: Path, progress: Progress, say: Callable[[str], None]) -> None:
        self.status = status
        self.folder = folder
        self.progress = progress
        self.say = say
        self.stored: dict[str, int] = {}  # file id → bytes, the first person's
        self.paths: dict[str, str] = {}
        self.trace = ""

    async def sign_up(self, ada: Person, bob: Person) -> None:
        await asyncio.gather(ada.sign_up("Ada Amethyst"), bob.sign_up("Bob Basalt"))
        first = await ada.upload("hello.txt", b"hello, at once", "documents")
        self._keep(first.expect(201, "the first upload, at once after sign-up"))
        second = (await bob.upload("hello.txt", b"hello too", "documents")).expect(201, "the other one's first upload")
        check(second["quota"]["limit"] == 100 * 1024 * 1024, "the Free plan holds 100 MB")
        self.say(f"1. Two people signed up and stored a file at once: {ada.tenant['slug']}, {bob.tenant['slug']}")

    async def upload_folder(self, ada: Person) -> None:
        chosen = choose(self.folder)
        task = self.progress.add_task("uploading", total=len(chosen))
        queue = iter(chosen)
        sent = 0  # bytes handed over, acknowledged or not
        acknowledged = sum(self.stored.values())

        async def worker() -> None:
            nonlocal sent, acknowledged
            for path in queue:
                size = path.stat().st_size
                sent += size
                made = (await ada.upload(path.name, path, category(path))).expect(201, f"upload of {path.name}")
                self._keep(made)
                acknowledged += size
                low = acknowledged
                quota = await ada.get("/api/storage/quota")
                check(
                    low <= quota["used"] <= base + sent,
                    f"quota after {path.name}: {low} ≤ {quota['used']} ≤ {base + sent}",
                )
                self.progress.advance(task)

        base = acknowledged
        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        self.progress.remove_task(task)
        quota = await ada.get("/api/storage/quota")
        check(quota["used"] == sum(self.stored.values()), "quota is the sum of the sizes, to the byte")
        check(quota["reserved"] == 0, "nothing stays reserved")
        self.say(
            f"2. {len(chosen)} files of {self.folder} stored {AT_ONCE} at a time: {quota['used_formatted']}, each exact"
        )

    async def measure_usage(self, ada: Person) -> None:
        waits = []
        task = self.progress.add_task("timing the counter", total=PINGS)
        for number in range(PINGS):
            made = (await ada.upload(f"ping-{number}.txt", b"ping", "documents")).expect(201, "a small upload")
            start = time.perf_counter()
            self._keep(made)
            await self._usage_is(ada, sum(self.stored.values()))
            waits.append((time.perf_counter() - start) * 1000)
            self.progress.advance(task)
        self.progress.remove_task(task)
        ranked = statistics.quantiles(waits, n=100)
        self.say(
            f"3. Usage equals the sum of the sizes; 201 to counter p50 {ranked[49]:.0f} ms, p99 {ranked[98]:.0f} ms"
        )

    async def fill_up(self, ada: Person) -> int:
        """Returns the size of the upload that was refused."""
        limit: int = (await ada.get("/api/storage/quota"))["limit"]
        for percent in (80, 95):
            await self._fill_to(ada, limit * percent // 100 + MARGIN)
            await self._until(f"the alert at {percent} %", partial(self._has_alert, ada, percent))
        refused = limit - sum(self.stored.values()) + 1
        answer, travelled = await ada.refused_upload(refused)
        body = answer.expect(413, "one byte too many")
        check(body["code"] == "quota_exceeded", "the refusal's code is quota_exceeded")
        check(
            bool(body["quota_info"]) and bool(body["upgrade_url"]),
            "the refusal says what is left and where to get more",
        )
        check(travelled == 0, "no byte of a refused body travels")
        await self._fill_to(ada, limit)
        await self._until("the alert at 100 %", lambda: self._has_alert(ada, 100))
        spoken = await self._notified(ada)
        check(sorted(spoken) == [80, 95, 100], f"each alert came exactly once: {spoken}")
        await self._until("a mail an alert", lambda: self._mailed(ada, 3))
        self.say(
            "4. Alerts at 80, 95 and 100 % came once each, as note and mail; one byte too many: 413 quota_exceeded,"
        )
        self.say("   0 bytes of it travelled; what exactly fitted was stored")
        return refused

    async def upgrade(self, ada: Person, refused: int) -> None:
        payments = self.status["payments_url"]
        slug = ada.tenant["slug"]
        body = {"plan": "pro", "method": "credit_card"}
        payment = (await ada.call("POST", f"/api/payments/{slug}/initiate", body)).expect(201, "starting the payment")
        check((payment["amount"], payment["currency"]) == ("3.00", "EUR"), "Pro costs 3.00 EUR")
        trouble = {
            "payment_id": payment["payment_id"],
            "deliveries": 3,
            "order": "reverse",
            "forged": True,
            "wrong_amount": "1.00",
        }
        (await ada.call("POST", f"{payments}/sandbox/behaviour", trouble)).expect(
            200, "telling the sandbox to misbehave"
        )
        await self._pay(ada, payment["payment_url"])
        await self._until("the payment", lambda: self._paid(ada, payment["payment_id"]))
        await self._until("the higher limit", lambda: self._limit_is(ada, 10 * 1024**3))
        again = await ada.upload("refused-before.bin", filler(refused), "documents")
        self._keep(again.expect(201, "the upload that was refused"))
        await self._until("every callback", lambda: self._judged(ada, payment["payment_id"]))
        history = await ada.get(f"/api/payments/{slug}/history")
        check([p["status"] for p in history["items"]] == ["completed"], "one payment, completed")
        self.say(
            "5. Pro paid with 3.00 EUR on the sandbox's page; callback sent thrice, forged, and with a wrong amount:"
        )
        self.say(
            "   one activation, the others recorded with the reason; the limit rose by event; the refused upload passed"
        )

    async def delete(self, ada: Person, bob: Person) -> None:
        for file_id in list(self.stored)[:20]:
            (await ada.call("DELETE", f"/api/storage/files/{file_id}")).expect(204, "deleting a file")
            del self.stored[file_id]
        await self._usage_is(ada, sum(self.stored.values()))
        for armed in (1, 2):
            made = (await bob.upload("ballast.bin", filler(81 * 1024**2), "documents")).expect(201, "81 MB of 100")
            await self._until("the alert at 80 %", partial(self._alerts_are, bob, 80, armed, open_=1))
            (await bob.call("DELETE", f"/api/storage/files/{made['file_id']}")).expect(204, "deleting them")
            await self._until("the alert to clear", partial(self._alerts_are, bob, 80, armed, open_=0))
        self.say("6. Files deleted: the counters fell; an alert cleared, was armed again and came a second time")

    async def trespass(self, ada: Person, bob: Person) -> None:
        file_id = next(iter(self.stored))
        for path in (f"/api/storage/files/{file_id}", f"/api/storage/files/{file_id}/content"):
            (await bob.call("GET", path)).expect(404, "another tenant's file by id")
        by_path = await bob.call("DELETE", "/api/storage/file", {"file_path": self.paths[file_id]})
        by_path.expect(404, "another tenant's file by path")
        link = (await ada.get(f"/api/storage/files/{file_id}/url?expires_in=60"))["url"]
        (await bob.call("GET", link)).expect(200, "the signed link itself")
        altered = link[:-2] + ("A" if link[-2] != "A" else "B") + link[-1]
        (await bob.call("GET", altered)).expect(403, "the link with one character changed")
        self.say(
            "7. The other tried the first one's file: by id 404, by path 404, by link with one character changed 403"
        )

    async def prove(self, ada: Person) -> None:
        await self._usage_is(ada, sum(self.stored.values()))
        proof = await ada.get("/api/usage/proof")
        found = {name: proof[name]["bytes"] for name in ("ledger", "counters", "store")}
        check(proof["equal"] is True, f"the proof is equal: {found}")
        check(set(found.values()) == {sum(self.stored.values())}, f"and is what was stored: {found}")
        self.say(
            f"8. Proof at position {proof['position']}: ledger = counters = store = {format_bytes(found['ledger'])}, "
            f"chain head {proof['head_hash'][:16]}…"
        )

    async def show_trace(self, ada: Person) -> None:
        await self._until("the whole trace", lambda: self._traced(ada), seconds=20)
        spans = (await ada.get(f"{self.status['traces_url']}/api/traces/{self.trace}"))["spans"]
        services = list(dict.fromkeys(span["service"] for span in sorted(spans, key=lambda s: s["start"])))
        self.say(f"9. One upload's trace, {len(spans)} spans over {', '.join(services)}:")
        self.say(f"   {self.status['traces_url']}/trace/{self.trace}")

    def _keep(self, made: dict[str, Any]) -> None:
        self.stored[made["file_id"]] = made["file_size"]
        self.paths[made["file_id"]] = made["file_path"]

    async def _fill_to(self, ada: Person, total: int) -> None:
        """Uploads so much that `total` bytes are stored, in pieces a form upload may have."""
        trace = secrets.token_hex(16)
        missing = total - sum(self.stored.values())
        check(missing > 0, f"the folder is small enough to fill the rest up to {format_bytes(total)}")
        made = await ada.upload(f"ballast-{total}.bin", filler(missing), "documents", trace=trace)
        self._keep(made.expect(201, f"{missing} bytes that fit"))
        self.trace = self.trace or trace

    async def _usage_is(self, person: Person, expected: int) -> None:
        async def seen() -> bool:
            summary = await person.get("/api/usage/summary")
            for part, total in SUMMED.items():
                summed = sum(kind[part] for kind in summary["breakdown"])
                check(summed == summary["storage"][total], f"the breakdown's {part} sums to the total, in every answer")
            return bool(summary["storage"]["used"] == expected)

        await self._until(f"usage to be {expected}", seen)

    async def _has_alert(self, person: Person, percent: int) -> bool:
        return percent in await self._notified(person)

    async def _notified(self, person: Person) -> list[int]:
        items = (await person.get("/api/notifications?limit=200"))["items"]
        return [item["data"]["percent"] for item in items if item["kind"].startswith("storage_")]

    async def _alerts_are(self, person: Person, percent: int, number: int, *, open_: int) -> bool:
        items = (await person.get("/api/usage/alerts"))["items"]
        found = [item for item in items if item["percent"] == percent]
        return len(found) == number and sum(item["cleared_at"] is None for item in found) == open_

    async def _mailed(self, person: Person, number: int) -> bool:
        return await asyncio.to_thread(self._count_mails, person.email) >= number

    def _count_mails(self, address: str) -> int:
        count = 0
        for path in Path(self.status["mail_dir"]).glob("*.eml"):
            message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            count += address in str(message["To"])
        return count

    async def _pay(self, person: Person, page: str) -> None:
        """As a person does: opens the page and presses Pay."""
        (await person.call("GET", page)).expect(200, "the provider's page")
        external = page.rstrip("/").rsplit("/", 1)[1]
        payments = self.status["payments_url"]
        answer = await person.call("POST", f"{payments}/sandbox/payments/{external}/pay")
        check(answer.status in {200, 202, 303}, f"paying: {answer.status}")

    async def _paid(self, person: Person, payment: str) -> bool:
        return bool((await person.get(f"/api/payments/{payment}/status"))["status"] == "completed")

    async def _judged(self, person: Person, payment: str) -> bool:
        callbacks = (await person.get(f"/api/payments/{payment}/status"))["callbacks"]
        verdicts = [callback["verdict"] for callback in callbacks]
        rejected = [callback for callback in callbacks if callback["verdict"] == "rejected"]
        return verdicts.count("accepted") == 1 and len(rejected) >= 1 and all(r["reason"] for r in rejected)

    async def _limit_is(self, person: Person, limit: int) -> bool:
        return bool((await person.get("/api/storage/quota"))["limit"] == limit)

    async def _traced(self, person: Person) -> bool:
        answer = await person.call("GET", f"{self.status['traces_url']}/api/traces/{self.trace}")
        if answer.status != 200:
            return False
        services = {span["service"] for span in answer.body["spans"]}
        return {"gateway", "upload", "upload:worker", "usage:worker", "gateway:worker"} <= services

    async def _until(self, what: str, holds: Callable[[], Awaitable[bool]], seconds: float = 15) -> None:
        deadline = time.monotonic() + seconds
        while not await holds():
            check(time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}")
            await asyncio.sleep(0.002)
