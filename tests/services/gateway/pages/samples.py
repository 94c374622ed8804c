"""What the services behind the pages answer."""

import orjson

MB = 1024 * 1024

QUOTA = orjson.dumps({"used": 85 * MB, "reserved": 0, "limit": 100 * MB, "available": 15 * MB})


def _file(number: int, name: str, size: int, kind: str) -> dict[str, object]:
    return {
        "file_id": f"0190f0f0-0000-7000-8000-{number:012d}", "file_name": name, "file_size": size,
        "file_type": kind, "category": "documents", "stored_at": f"2026-03-01T12:{number:02d}:00Z",
    }  # fmt: skip


FILES = orjson.dumps(
    {
        "items": [
            _file(1, "Q3 <report>.pdf", 1843200, "document"),
            _file(2, "harbour-at-dawn.jpg", 4404019, "image"),
            _file(3, "minutes of the very long meeting about the crane on pier seven.docx", 52340, "document"),
            _file(4, "backup.tar.gz", 78643200, "other"),
        ],
        "next_cursor": None,
    }
)


def _plan(code: str, price: str | None, **entitlements: object) -> dict[str, object]:
    return {
        "code": code, "name": code.capitalize(), "price": price,
        "currency": "EUR" if price else None, "interval": "month" if price else None,
        "current": False, "entitlements": entitlements,
    }  # fmt: skip


PLANS = orjson.dumps(
    {
        "items": [
            _plan(
                "free", None, storage_bytes=100 * MB, traffic_bytes_month=5 * 1024 * MB, images_month=0, projects=2,
                members=1, cpu=0.3, memory_bytes=100 * MB, custom_domains=False,
            ),
            _plan(
                "pro", "3.00", storage_bytes=10240 * MB, traffic_bytes_month=10240 * MB, images_month=50, projects=None,
                members=None, cpu=4, memory_bytes=6144 * MB, custom_domains=True,
            ),
        ]
    }
)  # fmt: skip

SUBSCRIPTION = b'{"plan":"free","status":"active"}'
