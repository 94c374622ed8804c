"""A refused upload costs no byte of its body; an accepted one is asked for once the service has agreed."""

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.fixtures.postgres import ServiceDatabase
from tests.services.gateway.harness import Gateway, running_gateway
from tests.services.gateway.proxy.raw import Exchange, RawUpstream, post, raw_client, raw_upstream

REFUSAL = b"HTTP/1.1 413 Content Too Large\r\ncontent-type: application/json\r\ncontent-length: 25\r\n\r\n"
REFUSED = REFUSAL + b'{"code":"quota_exceeded"}'
SIZE = 1 << 20


async def _refuse(exchange: Exchange) -> None:
    await exchange.say(REFUSED)
    await exchange.count_body()


async def _accept(exchange: Exchange) -> None:
    await exchange.say(b"HTTP/1.1 100 Continue\r\n\r\n")
    while exchange.body_bytes < SIZE:
        exchange.body_bytes += len(await exchange.reader.read(1 << 16))
    await exchange.say(b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}")


async def test_refusal_costs_no_body_byte_anywhere(gateway_db: ServiceDatabase, tmp_path: Path) -> None:
    async with raw_upstream(_refuse) as upstream, _before(gateway_db, tmp_path, upstream) as gateway:
        person = await gateway.sign_up()
        async with raw_client(gateway.port) as client:
            await client.send(post(person.access, SIZE, "expect: 100-continue"))
            head = await client.head()
            assert head.startswith(b"HTTP/1.1 413")  # and not 100 first: the client never begins its body
            assert b"connection: close" in head
            assert await client.rest() == b'{"code":"quota_exceeded"}'
        await asyncio.sleep(0.05)
        assert b"expect: 100-continue" in upstream.exchanges[0].head
        assert (upstream.exchanges[0].body_bytes, upstream.exchanges[0].lost) == (0, True)


async def test_client_that_does_not_ask_still_hears_why(gateway_db: ServiceDatabase, tmp_path: Path) -> None:
    async with raw_upstream(_refuse) as upstream, _before(gateway_db, tmp_path, upstream) as gateway:
        person = await gateway.sign_up()
        async with raw_client(gateway.port) as client:
            sending = asyncio.create_task(client.send(post(person.access, 8 * SIZE) + bytes(8 * SIZE)))
            head = await client.head()
            assert head.startswith(b"HTTP/1.1 413")
            assert await client.rest() == b'{"code":"quota_exceeded"}'
            await sending
        assert upstream.exchanges[0].body_bytes == 0


async def test_accepted_upload_is_asked_for_after_the_service_agreed(
    gateway_db: ServiceDatabase, tmp_path: Path
) -> None:
    agreed = asyncio.Event()

    async def hesitate(exchange: Exchange) -> None:
        await agreed.wait()
        await _accept(exchange)

    async with raw_upstream(hesitate) as upstream, _before(gateway_db, tmp_path, upstream) as gateway:
        person = await gateway.sign_up()
        async with raw_client(gateway.port) as client:
            await client.send(post(person.access, SIZE, "expect: 100-continue"))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await client.reader.read(1)
            agreed.set()
            assert await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
            await client.send(bytes(SIZE))
            assert (await client.head()).startswith(b"HTTP/1.1 201")
        assert upstream.exchanges[0].body_bytes == SIZE


async def test_small_body_goes_along_without_asking(gateway: Gateway) -> None:
    person = await gateway.sign_up()
    for size, asked in ((64 * 1024, []), (64 * 1024 + 1, ["100-continue"])):
        await gateway.call("POST", "/api/storage/upload", headers=person.bearer, data=bytes(size))
        assert gateway.stub.seen[-1].values("expect") == asked
        assert len(gateway.stub.seen[-1].body) == size


async def test_answer_in_the_middle_of_the_body_ends_it(gateway_db: ServiceDatabase, tmp_path: Path) -> None:
    async def enough(exchange: Exchange) -> None:
        if b"content-length" not in exchange.head:
            await exchange.say(REFUSED)
            return
        await exchange.say(b"HTTP/1.1 100 Continue\r\n\r\n")
        await exchange.reader.read(1000)
        await exchange.say(REFUSED)
        await exchange.count_body()

    async with raw_upstream(enough) as upstream, _before(gateway_db, tmp_path, upstream) as gateway:
        person = await gateway.sign_up()
        async with raw_client(gateway.port) as client:
            await client.send(post(person.access, SIZE) + bytes(2000))
            head = await client.head()
            assert head.startswith(b"HTTP/1.1 413")
            assert b"connection: close" in head
            await asyncio.sleep(0.05)
            # The service's connection is over at once, though the client has not finished.
            assert upstream.exchanges[0].lost
        # And no later request is put on it.
        assert (await gateway.call("GET", "/api/storage/quota", headers=person.bearer))[0] == 413
        assert upstream.connections == 2


def _before(database: ServiceDatabase, folder: Path, upstream: RawUpstream) -> AbstractAsyncContextManager[Gateway]:
    return running_gateway(database, folder, upstream=f"http://127.0.0.1:{upstream.port}")
