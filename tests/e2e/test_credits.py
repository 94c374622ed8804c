"""What credits buy, through the gateway and every process on the way."""

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
