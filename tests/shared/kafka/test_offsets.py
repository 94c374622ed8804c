"""Offsets beside the effects: compared and swapped, so a consumer that was replaced changes nothing."""

import pytest
from aiokafka import TopicPartition

from shared.db import Database
from shared.kafka import offsets
from tests.fixtures.postgres import PostgresServer

ONE, TWO = TopicPartition("files.v1", 0), TopicPartition("files.v1", 1)


async def test_an_offset_that_has_moved_moves_for_nobody_else(pg: PostgresServer) -> None:
    async with Database(pg.create("usage").worker) as database:
        assert await offsets.load(database, "usage", "cluster", [ONE, TWO]) == {ONE: 0, TWO: 0}
        async with database.transaction() as connection:
            await offsets.move(connection, "usage", "cluster", {ONE: (0, 10)})
        # The zombie still believes in 0, for one of its two partitions.
        with pytest.raises(offsets.StaleOffset):
            async with database.transaction() as connection:
                await offsets.move(connection, "usage", "cluster", {ONE: (0, 5), TWO: (0, 5)})
        assert await offsets.load(database, "usage", "cluster", [ONE, TWO]) == {ONE: 10, TWO: 0}


async def test_another_cluster_begins_anew(pg: PostgresServer) -> None:
    async with Database(pg.create("usage").worker) as database:
        await offsets.load(database, "usage", "old", [ONE])
        async with database.transaction() as connection:
            await offsets.move(connection, "usage", "old", {ONE: (0, 10)})
        assert await offsets.load(database, "usage", "new", [ONE]) == {ONE: 0}


def test_what_is_not_assigned_is_not_moved() -> None:
    with pytest.raises(offsets.StaleOffset):
        offsets.moves({ONE: offsets.Span(0, 4)}, {TWO: 0})
    assert offsets.moves({ONE: offsets.Span(3, 4)}, {ONE: 3}) == {ONE: (3, 5)}
    assert offsets.skips({ONE: offsets.Span(3, 4)}, {ONE: 1}) == {ONE: 1}
    assert offsets.skips({ONE: offsets.Span(3, 4)}, {ONE: 3}) == {}
