"""What every object store keeps, on the one in memory and on a real S3 server."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from linnet_runtime import s3
from linnet_runtime.errors import NotFound, Unavailable
from linnet_runtime.objectstore import ObjectStore
from linnet_runtime.s3 import S3Location, S3Store
from minio.error import S3Error

from tests.fakes.objectstore import MemoryStore

LIFE = timedelta(minutes=1)
LARGE = bytes(range(256)) * 4096 * 6


@pytest.fixture(params=["memory", "s3"])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    if request.param == "memory":
        return MemoryStore()
    made: S3Store = request.getfixturevalue("s3_store")
    return made


def test_an_object_comes_back_as_it_was_put(store: ObjectStore) -> None:
    """Whole or in part, small, empty or large; putting again replaces it."""
    for data in (b"", b"small", LARGE):
        store.put("a/b", data)
        assert store.get("a/b") == data
        assert store.stat("a/b").size_bytes == len(data)
    assert store.get("a/b", offset=1000, length=50) == LARGE[1000:1050]
    assert store.get("a/b", offset=len(LARGE) - 3) == LARGE[-3:]


@pytest.mark.parametrize("part_bytes", [s3._COPY_PART_BYTES, 5 * 1024**2])
def test_a_copy_is_an_object_of_its_own(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, part_bytes: int
) -> None:
    """Small, empty, or copied part by part: what becomes of the source does not touch it."""
    monkeypatch.setattr(s3, "_COPY_PART_BYTES", part_bytes)
    for data in (b"", b"small", LARGE):
        store.put("a/source", data)
        store.copy("a/source", "b/tar get")
        store.put("a/source", b"other")
        assert store.get("b/tar get") == data


@pytest.mark.parametrize(
    "ask",
    [lambda s: s.get("none"), lambda s: s.stat("none"), lambda s: s.copy("none", "some")],
    ids=["get", "stat", "copy"],
)
def test_what_is_not_there_is_not_found(
    store: ObjectStore, ask: Callable[[ObjectStore], object]
) -> None:
    """Reading a key that does not exist names the key."""
    with pytest.raises(NotFound) as caught:
        ask(store)
    assert caught.value.name == "none"


def test_lists_are_in_order_and_by_prefix(store: ObjectStore) -> None:
    """A prefix gives its own objects, with their sizes, in order of key, whatever is in a key."""
    for key in ("p/2", "p/1", "q/1", "p/10", "p+/å &<b>%2F=c?"):
        store.put(key, key.encode())
    assert [info.key for info in store.list("p/")] == ["p/1", "p/10", "p/2"]
    assert [info.key for info in store.list("p+/å &")] == ["p+/å &<b>%2F=c?"]
    assert [info.size_bytes for info in store.list("p/")] == [3, 4, 3]
    assert [info.key for info in store.list("r/")] == []


def test_a_list_is_whole_beyond_a_page(store: ObjectStore) -> None:
    """S3 gives a thousand objects at a time."""
    keys = [f"p/{number:04}" for number in range(1005)]
    with ThreadPoolExecutor(8) as several:
        list(several.map(lambda key: store.put(key, b"x"), keys))
    assert [info.key for info in store.list("p/")] == keys


def test_a_list_that_is_refused(s3_location: S3Location) -> None:
    """No bucket, no store and a wrong key are errors, no empty list."""
    with pytest.raises(NotFound):
        S3Store(replace(s3_location, bucket="no-such-bucket")).list("")
    with pytest.raises(Unavailable):
        S3Store(replace(s3_location, endpoint="http://127.0.0.1:9")).list("")
    with pytest.raises(S3Error, match=r"SignatureDoesNotMatch|AccessDenied"):
        S3Store(replace(s3_location, secret_key="wrong")).list("")


def test_deleting_is_idempotent(store: ObjectStore) -> None:
    """Keys that do not exist are passed over, the others go."""
    store.put("a", b"1")
    store.put("b", b"2")
    store.delete(["a", "never"])
    store.delete(["a"])
    assert [info.key for info in store.list("")] == ["b"]


def test_a_store_that_answers_pings(store: ObjectStore) -> None:
    """A bucket that can be reached says so by raising nothing."""
    store.ping()


def test_presigned_addresses_are_for_one_key_and_method(s3_store: S3Store) -> None:
    """Anyone may use them as they are, for nothing else."""
    put = s3_store.presign("PUT", "up", LIFE)
    with httpx.Client(trust_env=False) as client:
        assert client.put(put, content=b"body").is_success
        assert s3_store.get("up") == b"body"
        assert client.get(s3_store.presign("GET", "up", LIFE)).content == b"body"
        assert client.get(put).status_code == 403
        assert client.put(put.replace("/up?", "/other?"), content=b"x").status_code == 403


@pytest.mark.parametrize("key", ["up", "projects/p/runs/r/attempts/1/model int8+x.tflite"])
def test_a_presigned_upload_takes_its_size_only(s3_store: S3Store, key: str) -> None:
    """What is longer or shorter, or of no length that is told, is refused and stores nothing."""
    put = s3_store.presign("PUT", key, LIFE, size_bytes=4)
    with httpx.Client(trust_env=False) as client:
        for body in (b"longer", b"x", b"", iter([b"body"])):
            assert client.put(put, content=body).status_code == 403
        with pytest.raises(NotFound):
            s3_store.stat(key)
        assert client.put(put, content=b"body").is_success
        assert s3_store.get(key) == b"body"
        assert client.get(put).status_code == 403
        assert client.put(put.replace("Expires=", "Expires=9"), content=b"body").status_code == 403


def test_a_store_that_is_away_is_unavailable(s3_location: S3Location) -> None:
    """Nobody listening is worth a retry, and the error holds no secret."""
    away = S3Store(
        S3Location("http://127.0.0.1:9", s3_location.access_key, s3_location.secret_key, "bucket")
    )
    with pytest.raises(Unavailable) as caught:
        away.stat("key")
    assert s3_location.secret_key not in caught.value.message
