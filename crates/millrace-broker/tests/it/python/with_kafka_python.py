"""What users of kafka-python do: admin, a group, transactions, times. Usage: with_kafka_python.py host:port."""

import sys
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewPartitions, NewTopic
from kafka.structs import OffsetAndMetadata

SERVERS = sys.argv[1]
PATIENCE = 30


def produce():
    for codec in [None, "gzip"]:
        producer = KafkaProducer(bootstrap_servers=SERVERS, compression_type=codec, acks="all", linger_ms=5)
        sends = [
            producer.send("orders", key=b"k%d" % n, value=b"v%d" % n, headers=[("n", b"%d" % n)], partition=n % 2,
                          timestamp_ms=1_700_000_000_000 + n)
            for n in range(500)
        ]
        assert len({(s.get(PATIENCE).partition, s.get(PATIENCE).offset) for s in sends}) == 500
        producer.close()


def group(admin):
    def consumer():
        return KafkaConsumer(
            "orders", bootstrap_servers=SERVERS, group_id="readers", auto_offset_reset="earliest", enable_auto_commit=False,
        )

    one = consumer()
    records, end = [], time.monotonic() + PATIENCE
    while len(records) < 1000:
        assert time.monotonic() < end, f"only {len(records)} of 1000 records"
        records += [r for batch in one.poll(timeout_ms=500).values() for r in batch]
    record = next(r for r in records if r.key == b"k7")
    assert (record.value, list(record.headers), record.timestamp) == (b"v7", [("n", b"7")], 1_700_000_000_007)
    assert one.assignment() == {TopicPartition("orders", 0), TopicPartition("orders", 1)}
    one.commit()
    assert sum(one.committed(TopicPartition("orders", p)) for p in (0, 1)) == 1000
    assert [g["group_id"] for g in admin.list_groups()] == ["readers"], admin.list_groups()
    assert len(admin.describe_groups(["readers"])["readers"]["members"]) == 1
    one.close()
    # The first has left: the second takes over where it stopped, at once.
    two, began = consumer(), time.monotonic()
    while not two.assignment():
        assert time.monotonic() - began < 5, "the first member did not leave"
        assert two.poll(timeout_ms=200) == {}
    two.close()
    offsets = admin.list_group_offsets("readers")
    assert "readers" in offsets or offsets, offsets
    admin.delete_groups(["readers"])


def times():
    consumer = KafkaConsumer(bootstrap_servers=SERVERS)
    place = TopicPartition("orders", 0)
    assert consumer.end_offsets([place]) == {place: 500}
    assert consumer.beginning_offsets([place]) == {place: 0}
    assert consumer.offsets_for_times({place: 1_700_000_000_100})[place].offset == 50
    consumer.close()


def transactions():
    producer = KafkaProducer(bootstrap_servers=SERVERS, transactional_id="t1")
    producer.init_transactions()
    for n in range(4):
        producer.begin_transaction()
        producer.send("ledger", key=b"%d" % n, value=b"x").get(PATIENCE)
        offsets = {TopicPartition("orders", 0): OffsetAndMetadata(n, "", -1)}
        producer.send_offsets_to_transaction(offsets, "inputs")
        (producer.commit_transaction if n % 2 == 0 else producer.abort_transaction)()
    producer.close()
    consumer = KafkaConsumer(bootstrap_servers=SERVERS, group_id="inputs", isolation_level="read_committed",
                             enable_auto_commit=False)
    place = TopicPartition("ledger", 0)
    consumer.assign([place])
    consumer.seek_to_beginning(place)
    keys, end = [], time.monotonic() + PATIENCE
    while len(keys) < 2:
        assert time.monotonic() < end, keys
        keys += [r.key for batch in consumer.poll(timeout_ms=500).values() for r in batch]
    assert keys == [b"0", b"2"], keys
    assert consumer.committed(TopicPartition("orders", 0)) == 2
    consumer.close()


def main():
    admin = KafkaAdminClient(bootstrap_servers=SERVERS)
    admin.create_topics([NewTopic("orders", 1, 1, topic_configs={"retention.ms": "3600000"}), NewTopic("ledger", 1, 1)])
    admin.create_partitions({"orders": NewPartitions(2)})
    assert sorted(admin.list_topics()) == ["ledger", "orders"]
    produce()
    group(admin)
    times()
    transactions()
    admin.delete_topics(["orders", "ledger"])
    assert admin.list_topics() == []
    admin.close()
    print("all of kafka-python")


main()
