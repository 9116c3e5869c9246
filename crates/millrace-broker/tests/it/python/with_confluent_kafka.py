"""What users of confluent-kafka do: admin, a group, transactions, times. Usage: with_confluent_kafka.py host:port."""

import sys
import time

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

SERVERS = sys.argv[1]
PATIENCE = 30


def results(futures):
    return {key: future.result(PATIENCE) for key, future in futures.items()}


def poll(consumer, count):
    """Exactly `count` records, then none."""
    records, end = [], time.monotonic() + PATIENCE
    while len(records) < count:
        assert time.monotonic() < end, f"only {len(records)} of {count} records"
        record = consumer.poll(0.5)
        if record is not None:
            assert record.error() is None, record.error()
            records.append(record)
    assert consumer.poll(0.5) is None
    return records


def topics(admin):
    results(admin.create_topics([NewTopic("orders", 3, 1, config={"retention.ms": "3600000"})]))
    assert "orders" in admin.list_topics(timeout=PATIENCE).topics
    results(admin.create_partitions([NewPartitions("orders", 4)]))
    described = admin.list_topics("orders", timeout=PATIENCE).topics["orders"]
    assert sorted(described.partitions) == [0, 1, 2, 3]
    resource = ConfigResource(ResourceType.TOPIC, "orders")
    assert results(admin.describe_configs([resource]))[resource]["retention.ms"].value == "3600000"
    change = ConfigEntry("retention.ms", "7200000", incremental_operation=AlterConfigOpType.SET)
    results(admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, "orders", incremental_configs=[change])]))
    assert results(admin.describe_configs([resource]))[resource]["retention.ms"].value == "7200000"
    assert admin.describe_cluster().result(PATIENCE).cluster_id


def produce():
    producer = Producer({"bootstrap.servers": SERVERS, "enable.idempotence": True, "compression.type": "zstd"})
    failed = []
    for n in range(1000):
        headers = [("n", str(n).encode())]
        producer.produce(
            "orders", key=f"k{n}", value=f"v{n}", headers=headers, partition=n % 4, timestamp=1_700_000_000_000 + n,
            on_delivery=lambda error, _: error and failed.append(error),
        )
        producer.poll(0)
    assert producer.flush(PATIENCE) == 0 and not failed, failed


def group(admin):
    settings = {"bootstrap.servers": SERVERS, "group.id": "readers", "auto.offset.reset": "earliest", "enable.auto.commit": False}
    one, two = Consumer(settings), Consumer(settings)
    seen, end = {}, time.monotonic() + PATIENCE
    for consumer in (one, two):
        consumer.subscribe(["orders"])
    while len(seen) < 1000 or not (one.assignment() and two.assignment()):
        assert time.monotonic() < end, f"{len(seen)} of 1000 records, {one.assignment()}, {two.assignment()}"
        for consumer in (one, two):
            record = consumer.poll(0.1)
            if record is not None and record.error() is None:
                seen[record.key()] = record
    record = seen[b"k7"]
    assert (record.value(), record.headers(), record.timestamp()[1]) == (b"v7", [("n", b"7")], 1_700_000_000_007)
    described = results(admin.describe_consumer_groups(["readers"]))["readers"]
    assert len(described.members) == 2 and described.state.name == "STABLE", described.state
    for consumer in (one, two):
        consumer.commit(asynchronous=False)
        consumer.close()
    listed = admin.list_consumer_groups().result(PATIENCE)
    assert [g.group_id for g in listed.valid] == ["readers"] and not listed.errors
    asked = [ConsumerGroupTopicPartitions("readers")]
    committed = results(admin.list_consumer_group_offsets(asked))["readers"].topic_partitions
    assert sum(place.offset for place in committed) == 1000, committed
    results(admin.delete_consumer_groups(["readers"]))


def offsets(admin):
    consumer = Consumer({"bootstrap.servers": SERVERS, "group.id": "times"})
    assert consumer.get_watermark_offsets(TopicPartition("orders", 1), timeout=PATIENCE) == (0, 250)
    found = consumer.offsets_for_times([TopicPartition("orders", 1, 1_700_000_000_400)], timeout=PATIENCE)
    assert found[0].offset == 100, found
    latest = {TopicPartition("orders", 2): OffsetSpec.latest()}
    assert [r.offset for r in results(admin.list_offsets(latest)).values()] == [250]
    results(admin.delete_records([TopicPartition("orders", 0, 200)]))
    assert consumer.get_watermark_offsets(TopicPartition("orders", 0), timeout=PATIENCE) == (200, 250)
    consumer.close()


def transactions():
    producer = Producer({"bootstrap.servers": SERVERS, "transactional.id": "t1"})
    producer.init_transactions(PATIENCE)
    for n in range(6):
        producer.begin_transaction()
        producer.produce("ledger", key=str(n), value="x")
        producer.flush(PATIENCE)  # An abort would drop what was not sent yet.
        (producer.commit_transaction if n % 2 == 0 else producer.abort_transaction)(PATIENCE)
    # A second one of the same id fences the first.
    second = Producer({"bootstrap.servers": SERVERS, "transactional.id": "t1"})
    second.init_transactions(PATIENCE)
    try:
        producer.begin_transaction()
        producer.produce("ledger", key="zombie", value="x")
        producer.commit_transaction(PATIENCE)
        raise AssertionError("the first producer was not fenced")
    except KafkaException as error:
        assert error.args[0].fatal(), error
    for isolation, keys in [("read_committed", ["0", "2", "4"]), ("read_uncommitted", list("012345"))]:
        consumer = Consumer({"bootstrap.servers": SERVERS, "group.id": isolation, "isolation.level": isolation})
        consumer.assign([TopicPartition("ledger", 0, OFFSET_BEGINNING)])
        assert [record.key().decode() for record in poll(consumer, len(keys))] == keys, isolation
        consumer.close()


def main():
    admin = AdminClient({"bootstrap.servers": SERVERS})
    topics(admin)
    produce()
    group(admin)
    offsets(admin)
    results(admin.create_topics([NewTopic("ledger", 1, 1)]))
    transactions()
    results(admin.delete_topics(["orders", "ledger"]))
    assert not admin.list_topics(timeout=PATIENCE).topics
    print("all of confluent-kafka")


main()
