"""The main job as a user does it, on both brokers: every promise is checked by the demo itself."""

import json

import aiohttp
import pytest

from tests.fixtures.stack import ROOT, Stack, person


def does_the_main_job(stack: Stack) -> None:
    done = stack.command("demo", "--folder", str(ROOT / "shared"), check=False, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    for step in range(1, 10):
        assert f"\n{step}. " in f"\n{done.stdout}", f"step {step} is missing:\n{done.stdout}"


def test_on_the_embedded_broker(stack: Stack) -> None:
    assert stack.status["broker"] == "embedded"
    does_the_main_job(stack)


@pytest.mark.kafka
def test_on_real_kafka(kafka_stack: Stack) -> None:
    assert kafka_stack.status["broker"] == "kafka"
    does_the_main_job(kafka_stack)


async def test_the_proof_of_one_tenant_and_of_all(stack: Stack, http: aiohttp.ClientSession) -> None:
    ada = await person(stack, http)
    (await ada.upload("a.txt", b"twelve bytes", "documents")).expect(201, "upload")
    said = stack.command("proof", ada.tenant["slug"], check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    assert "12 bytes in 1 files  equal" in said.stdout
    lines = [json.loads(line) for line in stack.command("proof", "--json", check=False).stdout.splitlines()]
    # Of everybody who has signed up; another test has counted for somebody who never did.
    known = {str(row["id"]) for row in await stack.query("gateway", "SELECT id FROM tenant")}
    proved = {line["tenant"]: line.get("equal") for line in lines if line["tenant"] in known}
    assert ada.tenant["id"] in proved
    assert set(proved.values()) == {True}
    assert "there is no tenant" in stack.command("proof", "nobody-of-that-name", check=False).stderr


def test_every_database_is_as_it_should_be(stack: Stack) -> None:
    said = stack.command("db", "verify").stdout
    assert said.count("as it should be") == 4
