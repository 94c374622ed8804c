from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from services.usage.disk.rules import Amount, Image, Labels, Owner, Volume, owner_of, tally, weight

LABELS = Labels("stowage.tenant", "stowage.project")
TENANT, PROJECT = UUID(int=1), UUID(int=2)
OURS = {"stowage.tenant": str(TENANT), "stowage.project": str(PROJECT)}

sizes = st.none() | st.integers(0, 2**40)
images = st.lists(st.builds(Image, sizes, sizes))
carried = st.sampled_from(
    [{}, OURS, {**OURS, "stowage.project": str(UUID(int=3))}, {"stowage.project": "x"}, {"stowage.tenant": str(TENANT)}]
)


def test_a_base_is_counted_once() -> None:
    assert weight([Image(120, 100), Image(130, 100), Image(100, 100)]) == 20 + 30 + 0 + 100
    assert weight([Image(7, 0), Image(8, 0)]) == 15
    assert weight([]) == 0


def test_what_is_not_known_is_not_made_up() -> None:
    # It may all be shared: then the larger of the two is all that surely lies there.
    assert weight([Image(10, None), Image(8, None)]) == 10
    assert weight([Image(None, None)]) == 0
    assert weight([Image(10, 99)]) == 10


@given(images)
def test_never_more_than_lies_there_and_never_less_than_one_of_them(them: list[Image]) -> None:
    known = [image.size or 0 for image in them]
    assert max(known, default=0) <= weight(them) <= sum(known)
    assert weight(them) == weight(them[::-1])


@given(st.lists(st.builds(Volume, sizes, carried)), st.lists(st.builds(Image, sizes, sizes, carried)))
def test_everything_is_somebodys_or_nobodys(volumes: list[Volume], them: list[Image]) -> None:
    found = tally(volumes, them, LABELS)
    parts = [*found.projects.values(), found.unassigned]
    assert sum(part.volumes for part in parts) == len(volumes)
    assert sum(part.images for part in parts) == len(them)
    assert sum(part.volumes_bytes for part in parts) == sum(volume.size or 0 for volume in volumes)
    unknown = [volume.size for volume in volumes].count(None) + [image.size for image in them].count(None)
    assert sum(part.unknown for part in parts) == unknown


def test_labels() -> None:
    assert owner_of(OURS, LABELS) == Owner(TENANT, PROJECT)
    wrong: list[dict[str, str]] = [
        {},
        {"stowage.project": str(PROJECT)},
        {"stowage.tenant": str(TENANT)},
        {**OURS, "stowage.project": ""},
        {**OURS, "stowage.tenant": "../" + str(TENANT)},
    ]
    assert [owner_of(labels, LABELS) for labels in wrong] == [None] * 5
    found = tally([Volume(1, labels) for labels in wrong], [Image(1, 0, {"other": "x"})], LABELS)
    assert (found.projects, found.mislabelled) == ({}, 4)
    assert found.unassigned == Amount(volumes_bytes=5, images_bytes=1, volumes=5, images=1)


def test_the_same_project_of_two_tenants_is_two() -> None:
    other = {**OURS, "stowage.tenant": str(uuid4())}
    assert len(tally([Volume(1, OURS), Volume(2, other)], [], LABELS).projects) == 2
