"""From the gateway's sockets to a project's month, through every process on the way."""

import asyncio
from uuid import uuid4

import aiohttp

from tests.fixtures.stack import Stack, person


async def test_a_project_s_traffic_is_what_went_through_the_gateway(stack: Stack, http: aiohttp.ClientSession) -> None:
    ada, project = await person(stack, http), str(uuid4())
    headers = {"Authorization": f"Bearer {ada.token}"}
    content, path = bytes(700_000), f"{ada.url}/api/storage/content/documents/a.bin?project_id={project}"
    async with http.put(path, data=content, headers=headers) as answer:
        assert answer.status == 201
        made, answered = await answer.json(), len(await answer.read())
    async with http.get(f"{ada.url}/api/storage/files/{made['file_id']}/content", headers=headers) as answer:
        assert await answer.read() == content
    async with http.get(made["file_url"]) as answer:  # a link: nobody is signed in
        assert await answer.read() == content
    async with asyncio.timeout(30):
        while True:
            found = await ada.call("GET", f"/api/usage/projects/{project}")
            if found.status == 200 and found.body["requests"] == 3:
                break
            await asyncio.sleep(0.2)
    assert (found.body["traffic_in"], found.body["traffic_out"]) == (len(content), 2 * len(content) + answered)
    assert found.body["storage_bytes"] == len(content)
    eve = await person(stack, http)
    assert (await eve.call("GET", f"/api/usage/projects/{project}")).status == 404
