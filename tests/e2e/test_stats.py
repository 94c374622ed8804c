"""A team's storage at a glance, put together from three services."""

import aiohttp

from tests.fixtures.stack import Stack, person


async def test_quota_breakdown_and_newest_uploads(stack: Stack, http: aiohttp.ClientSession) -> None:
    ada, bob = await person(stack, http), await person(stack, http, "Bob Other")
    for number in range(12):
        category = "avatars" if number % 3 == 0 else "documents"
        (await ada.upload(f"{number}.txt", b"x" * (number + 1), category)).expect(201, "upload")
    stats = await ada.get("/api/storage/stats")
    quota = await ada.get("/api/storage/quota")
    assert {key: stats["quota"][key] for key in quota if key in stats["quota"]} == {
        key: quota[key] for key in stats["quota"]
    }
    assert stats["quota"]["used"] == stats["stored"] == sum(range(1, 13))
    assert (stats["position"], stats["quota_position"], stats["files"]) == (12, 12, 12)
    parts = {(part["file_type"], part["category"]): part for part in stats["breakdown"]}
    assert sum(part["total_size"] for part in parts.values()) == stats["stored"]
    assert parts["document", "avatars"]["file_count"] == 4
    assert round(sum(part["percentage"] for part in parts.values())) == 100
    recent = stats["recent_uploads"]
    assert [file["file_name"] for file in recent] == [f"{number}.txt" for number in range(11, 1, -1)]
    assert {file["uploaded_by_name"] for file in recent} == {"Ada Test"}
    assert (await bob.get("/api/storage/stats"))["recent_uploads"] == []


async def test_an_older_version_is_told_apart_wherever_it_counts(stack: Stack, http: aiohttp.ClientSession) -> None:
    ada = await person(stack, http)
    (await ada.call("PUT", "/api/storage/settings", {"versions_kept": 1})).expect(200, "settings")
    made = (await ada.upload("a.txt", b"x" * 10, "documents")).expect(201, "upload")
    content = f"{stack.url}/api/storage/files/{made['file_id']}/content"
    headers = {"Authorization": f"Bearer {ada.token}", "Content-Type": "text/plain"}
    async with http.put(content, data=b"y" * 7, headers=headers) as answer:
        assert answer.status == 200
    stats = await ada.get("/api/storage/stats")  # waits for the counters
    told = (stats["stored"], stats["files"], stats["version_bytes"], stats["version_files"], stats["trashed_files"])
    assert told == (17, 2, 10, 1, 0)
    [kind] = stats["breakdown"]
    [user] = (await ada.get("/api/usage/users"))["items"]
    [project] = (await ada.get("/api/usage/projects"))["items"]
    parts = {kind["category"]: kind, user["user_id"]: user, project["project_id"]: project}
    assert None in parts
    assert {(part["version_bytes"], part["version_files"], part["trashed_bytes"]) for part in parts.values()} == {
        (10, 1, 0)
    }
