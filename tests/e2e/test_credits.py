"""What credits buy, through the gateway and every process on the way."""

import asyncio

import aiohttp

from deploy.local.demo.client import Answer, Person, read
from tests.e2e.test_rebuild import staff
from tests.fixtures.stack import Stack, person
from tests.services.upload.images.conftest import form, picture


async def given(stack: Stack, http: aiohttp.ClientSession, who: Person, amount: int) -> None:
    body = {"tenant_id": who.tenant["id"], "amount": amount, "source": "system_bonus", "description": "Welcome"}
    body["client_id"] = f"e2e-{who.tenant['id']}"
    (await (await staff(stack, http)).call("POST", "/api/admin/credits/grants", body)).expect(201, "granted")


async def send(who: Person, path: str) -> Answer:
    headers = {"Authorization": f"Bearer {who.token}"}
    async with who._session.post(who.url + path, data=form(picture(), {}), headers=headers) as answer:
        return await read(answer)


async def test_an_image_above_the_quota(stack: Stack, http: aiohttp.ClientSession) -> None:
    ada = await person(stack, http)
    await ada.get("/api/images/quota")  # the account is there
    await stack.query("upload", "UPDATE tenant_storage SET images_month = 1 WHERE tenant_id = $1", ada.tenant["id"])
    assert (await send(ada, "/api/images/upload")).status == 201
    await given(stack, http, ada, 2)
    refused = await send(ada, "/api/images/upload")
    assert (refused.status, refused.body["code"]) == (403, "IMAGE_QUOTA_EXCEEDED")
    assert refused.body["credits"] == {"price": 1, "balance": 2}
    bought = await send(ada, "/api/images/upload?use_credits=true")
    assert (bought.status, bought.body["quota_info"]["bought"]) == (201, 1)
    quota = await ada.get("/api/images/quota")
    assert (quota["quota_info"]["quota_used"], quota["credits"]) == (2, {"price": 1, "balance": 1})
    told = await ada.get("/api/credits")
    assert (told["balance"], told["reserved"], told["spent"]) == (1, 0, 1)


async def test_traffic_by_the_gb(stack: Stack, http: aiohttp.ClientSession) -> None:
    """Over the limit nothing is given out, to nobody; everything else goes on, and what is bought lets it pass."""
    ada = await person(stack, http)
    made = (await ada.upload("a.bin", bytes(200_000), "documents")).expect(201, "stored")
    await ada.get("/api/usage/summary")  # its plan is known
    limit = "UPDATE tenant_usage SET limits = limits || '{\"traffic_bytes_month\": 100000}' WHERE tenant_id = $1"
    await stack.query("usage", limit, ada.tenant["id"])
    path = f"/api/storage/files/{made['file_id']}/content"
    refused = await until(ada, path, 403)
    info = refused.body["traffic_info"]
    assert (refused.body["code"], info["limit"], info["bought"]) == ("plan_limit_traffic", 100_000, 0)
    assert info["used"] >= 200_000
    async with http.get(made["file_url"]) as answer:  # a link: nobody is signed in
        assert (answer.status, "traffic_info" in await answer.json()) == (403, False)
    (await ada.upload("b.bin", bytes(1_000), "documents")).expect(201, "uploads are not refused")
    assert (await ada.call("POST", "/api/credits/traffic", {"gigabytes": 1})).status == 402
    await given(stack, http, ada, 7)
    bought = (await ada.call("POST", "/api/credits/traffic", {"gigabytes": 1})).expect(201, "bought")
    assert (bought["amount"], bought["balance"]) == (-5, 2)
    await until(ada, path, 200)
    async with http.get(made["file_url"]) as answer:
        assert answer.status == 200
    limits = (await ada.get("/api/usage/limits"))["items"]
    traffic = next(item for item in limits if item["metric"] == "traffic")
    assert (traffic["limit"], traffic["bought"]) == (100_000 + 1024**3, 1024**3)


async def until(who: Person, path: str, status: int) -> Answer:
    """What is counted and what is bought arrives a little later."""
    async with asyncio.timeout(40):
        while (answer := await content(who, path)).status != status:
            await asyncio.sleep(0.3)
    return answer


async def content(who: Person, path: str) -> Answer:
    async with who._session.get(who.url + path, headers={"Authorization": f"Bearer {who.token}"}) as answer:
        return Answer(answer.status, await answer.json() if answer.status >= 400 else await answer.read())
