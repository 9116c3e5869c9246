"""Sinks as one writes them by hand, each a process of its own: peers.py NAME JSON, which is {"servers", "rows", "target", …}.

It reads a topic from the beginning, ends after so many rows and prints a line of JSON: its CPU time and the peak of its memory."""
import io
import json
import os
import resource
import sys
import time
from collections import defaultdict

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

import workload
from places import peak_mib

SILENCE_MAX_S = 60


def batches(told, topic, partitions, size):
    """Records of the topic, up to `size` at a time, until there were as many as we were told."""
    name = f"peer-{os.getpid()}"
    consumer = Consumer({"bootstrap.servers": told["servers"], "group.id": name, "enable.auto.commit": False,
                         "fetch.min.bytes": 1, "queued.max.messages.kbytes": 65_536})
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(partitions)])
    left, heard = told["rows"], time.monotonic()
    while left:
        records = consumer.consume(min(size, left), 0.5)
        if not records:
            if time.monotonic() - heard > SILENCE_MAX_S:
                raise SystemExit(f"nothing more to read of {topic}, {left} rows before the end")
            continue
        heard = time.monotonic()
        for record in records:
            if record.error():
                raise SystemExit(record.error())
        left -= len(records)
        yield records
        consumer.commit(asynchronous=True)
    consumer.close()


def upsert(table, source):
    changed = [name for name in workload.METRICS if name not in workload.METRICS_KEY]
    return (f"INSERT INTO {table} ({', '.join(workload.METRICS)}) {source} ON CONFLICT ({', '.join(workload.METRICS_KEY)}) "
            f"DO UPDATE SET {', '.join(f'{name} = EXCLUDED.{name}' for name in changed)}")


def postgres_rows(told):
    """What a sink connector without batching does: a statement a row, a commit every 500."""
    import psycopg
    statement = upsert(told["table"], f"VALUES ({', '.join(f'%({name})s' for name in workload.METRICS)})")
    with psycopg.connect(told["target"]) as database, database.cursor() as cursor:
        for records in batches(told, "store_metrics", 1, 500):
            for record in records:
                cursor.execute(statement, orjson.loads(record.value()))
            database.commit()


def postgres_batches(told):
    """The way of somebody who knows PostgreSQL: COPY into a temporary table, one statement from there, 5,000 rows at a time."""
    import psycopg
    columns = ", ".join(workload.METRICS)
    statement = upsert(told["table"], f"SELECT {columns} FROM batch")
    with psycopg.connect(told["target"]) as database, database.cursor() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE batch (LIKE {told['table']}) ON COMMIT DELETE ROWS")
        for records in batches(told, "store_metrics", 1, 5_000):
            last = {}
            for record in records:
                row = orjson.loads(record.value())
                last[row["window_start"], row["store_id"]] = row
            with cursor.copy(f"COPY batch ({columns}) FROM STDIN") as copy:
                for row in last.values():
                    copy.write_row([row[name] for name in workload.METRICS])
            cursor.execute(statement)
            database.commit()


def documents(records, prefix):
    """Each row as Millrace puts it: index of its day, id of its key, version of its offset."""
    for record in records:
        row = orjson.loads(record.value())
        day = row["window_start"][:10].replace("-", ".")
        name = json.dumps([row["window_start"], row["store_id"]], separators=(",", ":"))
        yield f"{prefix}{day}", name, record.offset() + 1, row


def search_rows(told):
    """A request a document."""
    from opensearchpy import OpenSearch
    client = OpenSearch(told["target"], timeout=60)
    for records in batches(told, "store_metrics", 1, 500):
        for index, name, version, row in documents(records, told["prefix"]):
            client.index(index=index, id=name, body=row, version=version, version_type="external_gte")


def search_bulk(told):
    """The client's own way for many: 2,000 documents or 5 MiB a request, compressed, as Millrace does."""
    from opensearchpy import OpenSearch, helpers
    client = OpenSearch(told["target"], timeout=60, http_compress=True)
    for records in batches(told, "store_metrics", 1, 2_000):
        actions = ({"_index": index, "_id": name, "version": version, "version_type": "external_gte", "_source": row}
                   for index, name, version, row in documents(records, told["prefix"]))
        helpers.bulk(client, actions, chunk_size=2_000, max_chunk_bytes=5 << 20)


def lake_pyarrow(told):
    """The lake's columns, files and batches by pyarrow and its JSON reader in C++. A record that breaks the contract ends it."""
    import pyarrow
    from pyarrow import compute, json as arrow_json, parquet
    utc = pyarrow.timestamp("us", "UTC")
    fields = [("event_time", utc)] + [(name, pyarrow.string()) for name in workload.EVENT_TEXTS]
    schema = pyarrow.schema(fields + [(name, pyarrow.int64()) for name in workload.EVENT_NUMBERS])
    reading = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")

    def write(partition, records):
        values = [record.value() for record in records]
        table = arrow_json.read_json(io.BytesIO(b"\n".join(values)), parse_options=reading)
        nothing = pyarrow.nulls(len(records), pyarrow.string())
        for name, column in [("_partition", pyarrow.repeat(pyarrow.scalar(partition, pyarrow.int32()), len(records))),
                             ("_offset", pyarrow.array([record.offset() for record in records], pyarrow.int64())),
                             ("_timestamp", pyarrow.array([record.timestamp()[1] * 1_000 for record in records], utc)),
                             ("_key", pyarrow.array([record.key() for record in records], pyarrow.binary())),
                             ("_raw", pyarrow.array(values, pyarrow.binary())), ("_error", nothing)]:
            table = table.append_column(name, column)
        hours = compute.floor_temporal(table["event_time"], unit="hour")
        dictionaries = [name for name in table.column_names if name not in ("_raw", "_offset")]
        for hour in compute.unique(hours):
            rows = table.filter(compute.equal(hours, hour))
            folder = os.path.join(told["target"], hour.as_py().strftime("user_events/date=%Y-%m-%d/hour=%H"))
            os.makedirs(folder, exist_ok=True)
            name = f"p{partition:05}-{rows['_offset'][0].as_py():012}-{rows['_offset'][-1].as_py():012}.parquet"
            parquet.write_table(rows, os.path.join(folder, name), compression="zstd", compression_level=3,
                                use_dictionary=dictionaries, row_group_size=1 << 20)

    held, count, size = defaultdict(list), 0, 0
    for records in batches(told, "user_events", workload.EVENT_PARTITIONS, 10_000):
        for record in records:
            held[record.partition()].append(record)
            size += len(record.value()) + len(record.key())
        count += len(records)
        if count >= 500_000 or size >= 64 << 20:
            for partition, some in held.items():
                write(partition, some)
            held, count, size = defaultdict(list), 0, 0
    for partition, some in held.items():
        write(partition, some)


def main():
    peers = {"rows": postgres_rows, "batches": postgres_batches, "one": search_rows, "bulk": search_bulk, "pyarrow": lake_pyarrow}
    peers[sys.argv[1]](json.loads(sys.argv[2]))
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"cpu": used.ru_utime + used.ru_stime, "peak_mib": peak_mib("self")}), flush=True)


if __name__ == "__main__":
    main()
