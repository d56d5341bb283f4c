"""The steps of state, secrets, configuration, locks and metadata."""

import contextlib
import queue
import time

import grpc
from dapr.clients.grpc._request import TransactionalStateOperation, TransactionOperationType
from dapr.clients.grpc._response import UnlockResponseStatus

from client import APP_ID, StreamToken, client, refused
from report import Noted

MEMORY, SECRETS, SETTINGS, LOCKS = "memory", "secrets", "settings", "locks"


def saves_and_gets(store=MEMORY):
    with client() as dapr:
        dapr.save_state(store, "order", '{"a":"ä"}')
        found = dapr.get_state(store, "order")
        assert found.json() == {"a": "ä"} and found.etag, found.data


def misses_a_key():
    with client() as dapr:
        found = dapr.get_state(MEMORY, "none")
        assert found.data == b"" and found.etag == "", found.data


def gets_many():
    with client() as dapr:
        dapr.save_state(MEMORY, "one", "1")
        dapr.save_state(MEMORY, "two", "2")
        items = dapr.get_bulk_state(MEMORY, ["one", "none", "two"], parallelism=2).items
        found = {item.key: (item.data, item.error) for item in items}
        assert found == {"one": (b"1", ""), "two": (b"2", ""), "none": (b"", "")}, found


def deletes():
    with client() as dapr:
        dapr.save_state(MEMORY, "deleted", "1")
        dapr.delete_state(MEMORY, "deleted")
        assert dapr.get_state(MEMORY, "deleted").data == b""


def saves_with_an_old_etag():
    with client() as dapr:
        dapr.save_state(MEMORY, "saved", "1")
        old = dapr.get_state(MEMORY, "saved").etag
        dapr.save_state(MEMORY, "saved", "2", etag=old)
        refused(lambda: dapr.save_state(MEMORY, "saved", "3", etag=old), grpc.StatusCode.ABORTED)
        assert dapr.get_state(MEMORY, "saved").data == b"2"


def deletes_with_an_old_etag():
    with client() as dapr:
        dapr.save_state(MEMORY, "kept", "1")
        old = dapr.get_state(MEMORY, "kept").etag
        dapr.save_state(MEMORY, "kept", "2")
        refused(lambda: dapr.delete_state(MEMORY, "kept", etag=old), grpc.StatusCode.ABORTED)
        found = dapr.get_state(MEMORY, "kept")
        assert found.data == b"2"
        dapr.delete_state(MEMORY, "kept", etag=found.etag)
        assert dapr.get_state(MEMORY, "kept").data == b""


def transacts():
    def upsert(key, data, etag=None):
        return TransactionalStateOperation(key, data, etag)

    with client() as dapr:
        dapr.save_state(MEMORY, "from", "1")
        old = dapr.get_state(MEMORY, "from").etag
        delete = TransactionalStateOperation(
            "from", operation_type=TransactionOperationType.delete
        )
        dapr.execute_state_transaction(MEMORY, [upsert("to", "1"), delete])
        assert dapr.get_state(MEMORY, "to").data == b"1"
        assert dapr.get_state(MEMORY, "from").data == b""
        try:
            dapr.execute_state_transaction(MEMORY, [upsert("to", "2"), upsert("from", "2", old)])
        except grpc.RpcError:
            assert dapr.get_state(MEMORY, "to").data == b"1"
        else:
            raise AssertionError("a transaction with an old ETag was not refused")


def expires():
    with client() as dapr:
        dapr.save_state(MEMORY, "short", "1", state_metadata={"ttlInSeconds": "1"})
        dapr.save_state(MEMORY, "long", "1", state_metadata={"ttlInSeconds": "3600"})
        for tries_left in reversed(range(600)):
            if dapr.get_state(MEMORY, "short").data == b"":
                break
            assert tries_left, "it never expired"
            time.sleep(0.1)
        assert dapr.get_state(MEMORY, "long").data == b"1"


def gets_a_secret():
    with client() as dapr:
        assert dapr.get_secret(SECRETS, "password").secret == {"password": "hunter2"}


def gets_all_secrets():
    with client() as dapr:
        secrets = dapr.get_bulk_secret(SECRETS).secrets
        assert secrets == {"password": {"password": "hunter2"}}, sorted(secrets)


def is_denied_a_secret():
    with client() as dapr:
        refused(lambda: dapr.get_secret(SECRETS, "denied"), grpc.StatusCode.PERMISSION_DENIED)


def misses_a_secret():
    with client() as dapr:
        refused(lambda: dapr.get_secret(SECRETS, "none"), grpc.StatusCode.NOT_FOUND)


def write(dapr, key, value):
    dapr.invoke_binding("writer", "create", value, {"key": key})


def gets_settings():
    key = f"{APP_ID}-color"
    with client() as dapr:
        write(dapr, key, "red||1")
        items = dapr.get_configuration(SETTINGS, [key]).items
        assert [(name, item.value, item.version) for name, item in items.items()] == [
            (key, "red", "1")
        ], items


def is_told_of_settings():
    key, changes = f"{APP_ID}-size", queue.SimpleQueue()
    with client(interceptors=[StreamToken()]) as dapr:
        told = dapr.subscribe_configuration(SETTINGS, [key], lambda _, all: changes.put(all.items))
        # The SDK hands back no id where it is not there within five seconds. Only what is another
        # value than before is told.
        for number in range(60):
            write(dapr, key, f"large||{number}")
            with contextlib.suppress(queue.Empty):
                change = changes.get(timeout=1)
                break
        else:
            raise AssertionError("nothing was told")
        assert change[key].value == "large" and change[key].version.isdigit(), change
        assert told is None or dapr.unsubscribe_configuration(SETTINGS, told)


def locks():
    with client() as dapr:
        assert dapr.try_lock(LOCKS, "till", "first", 60).success
        assert not dapr.try_lock(LOCKS, "till", "second", 60).success
        told = [dapr.unlock(LOCKS, "till", owner).status for owner in ("second", "first", "first")]
    assert told == [
        UnlockResponseStatus.lock_belongs_to_others,
        UnlockResponseStatus.success,
        UnlockResponseStatus.lock_does_not_exist,
    ], told


def gets_metadata():
    with client() as dapr:
        metadata = dapr.get_metadata()
        assert metadata.application_id == APP_ID
        assert MEMORY in [component.name for component in metadata.registered_components]


def sets_metadata():
    with client() as dapr:
        dapr.set_metadata("floor", "3")
        assert dapr.get_metadata().extended_metadata["floor"] == "3"


STEPS = {
    "state: save and get": saves_and_gets,
    "state: get a missing key": misses_a_key,
    "state: get many keys": gets_many,
    "state: delete": deletes,
    "state: save with an old ETag": saves_with_an_old_etag,
    "state: delete with an old ETag": deletes_with_an_old_etag,
    "state: transaction": transacts,
    "state: TTL": expires,
    "state: Redis, its password a secretKeyRef": lambda: saves_and_gets("redis"),
    "secrets: get one": gets_a_secret,
    "secrets: get all": gets_all_secrets,
    "secrets: denied by scope": is_denied_a_secret,
    "secrets: missing": misses_a_secret,
    "configuration: get": gets_settings,
    "configuration: subscribe": Noted(
        is_told_of_settings,
        "The client sends no token with this call; an interceptor of the app has to.",
    ),
    "lock: take and release": locks,
    "metadata: get": gets_metadata,
    "metadata: set": sets_metadata,
}
