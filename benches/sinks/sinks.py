#!/usr/bin/env python3
"""How fast each sink writes, beside the obvious alternatives: CPU time of sink and server, rows a second, memory.

Millrace's sinks run alone (`millrace sink`, `millrace lake`), on a Kafka broker and PostgreSQL 15 of `millrace cluster` and an
OpenSearch node of the tests'. What is there afterwards is compared with what was sent before any figure is printed. A peer that is
not there is left out, and it is said why; so is a sink whose server is not.

    cargo build --release --features spark
    pip install -r benches/sinks/requirements.txt
    python3 benches/sinks/sinks.py target/release/millrace --rows 200000
    python3 benches/sinks/sinks.py target/release/millrace --rows 50000 --sink postgres --rounds 1
"""
import argparse
import glob
import importlib.util
import json
import os
import shutil
import signal
import sys
import tempfile
import urllib.request

import places
import workload
from runs import Bench, no_server

SINKS = ["postgres", "search", "lake"]
# Each with the package it needs.
PEERS = {"rows": "psycopg", "batches": "psycopg", "one": "opensearchpy", "bulk": "opensearchpy", "pyarrow": "pyarrow",
         "spark": None}
INSTALL = "pip install -r benches/sinks/requirements.txt"
# A row at a time is so slow that it gets this part of the rows.
SLOW_PART = 10


def same(what, found, expected):
    if tuple(found) != tuple(expected):
        sys.exit(f"{what}: {found[0]:,} rows and a sum of {found[1]:,}, not {expected[0]:,} and {expected[1]:,}")


def postgres(bench, sent, peers):
    """A round of each by its name, when its result is found right."""
    import psycopg
    url, server = bench.cluster.postgres, bench.cluster.database_cpu
    shop = url.rsplit("/", 1)[0] + "/shop"
    few = len(sent) // SLOW_PART

    def ask(text, database=shop):
        with psycopg.connect(database, autocommit=True) as connection:
            answer = connection.execute(text)
            return answer.fetchone() if answer.description else None

    def result(table):
        return ask(f"SELECT count(*), sum(net_minor)::bigint FROM {table}")

    def through():
        try:
            found = watch.execute("SELECT next_offset FROM sink_offsets WHERE topic = 'store_metrics'").fetchone()
        except psycopg.errors.UndefinedTable:
            return 0
        return found[0] if found else 0

    ask("DROP DATABASE IF EXISTS shop WITH (FORCE)", url)
    ask("CREATE DATABASE shop", url)
    with psycopg.connect(shop, autocommit=True) as watch:
        cost = bench.millrace(["sink", "--store", shop], "", len(sent), through, server)
    same("postgres, millrace", result("store_metrics"), workload.total(sent)[0])
    yield "millrace", cost
    for name, label, rows in [("rows", "a row at a time, psycopg", few), ("batches", "COPY and upsert, psycopg", len(sent))]:
        if name in peers:
            ask(f"DROP TABLE IF EXISTS peer_{name}; CREATE TABLE peer_{name} (LIKE store_metrics INCLUDING ALL)")
            cost = bench.python_peer(name, rows, server, target=shop, table=f"peer_{name}")
            same(f"postgres, {label}", result(f"peer_{name}"), workload.total(sent[:rows])[0])
            yield label, cost
    if "spark" in peers:
        for number in (1, 2):
            ask(f"DROP TABLE IF EXISTS peer_spark_{number}; CREATE TABLE peer_spark_{number} (LIKE store_metrics)")
        # Several rows a statement: the driver's own way to be fast.
        jdbc = f"jdbc:postgresql://{shop.rsplit('@', 1)[1]}?reWriteBatchedInserts=true"
        cost = bench.spark_peer("jdbc", len(sent), server, peers["spark"], target=jdbc, table="peer_spark")
        same("postgres, spark", result("peer_spark_2"), workload.total(sent)[1])
        yield "Spark, JDBC append", cost


def search(bench, sent, peers):
    """As `postgres`. The store beside the search sink is SQLite and has everything before, so that it costs nothing."""
    few, node = len(sent) // SLOW_PART, bench.search_node()
    store = f"sqlite://{bench.scratch}/store.db"

    def ask(method, path, body=None):
        data = json.dumps(body).encode() if body is not None else None
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"{node.url}/{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def result(prefix):
        ask("POST", f"{prefix}*/_refresh")
        asked = {"size": 0, "track_total_hits": True, "aggs": {"sum": {"sum": {"field": "net_minor"}}}}
        found = ask("POST", f"{prefix}*/_search", asked)
        return found["hits"]["total"]["value"], int(found["aggregations"]["sum"]["value"])

    def clear(prefix):
        for index in ask("GET", f"_cat/indices/{prefix}*?format=json"):
            ask("DELETE", index["index"])

    if not os.path.exists(os.path.join(bench.scratch, "store.db")):
        bench.millrace(["sink", "--store", store], "", len(sent), bench.progress("millrace-store", "store_metrics", 1), no_server)
    clear("millrace-store_metrics-2")
    bench.forget("millrace-search")
    settings = f'[sink.elasticsearch]\nurl = "{node.url}"\ntables = ["store_metrics"]\nreplicas = 0\n'
    through = bench.progress("millrace-search", "store_metrics", 1)
    cost = bench.millrace(["sink", "--store", store], settings, len(sent), through, node.cpu)
    same("search, millrace", result("millrace-store_metrics-2"), workload.total(sent)[0])
    yield "millrace", cost
    made = next(iter(ask("GET", "millrace-store_metrics-2*/_mapping").values()))
    for name, label, rows in [("one", "a document at a time, opensearch-py", few), ("bulk", "bulk, opensearch-py", len(sent))]:
        if name in peers:
            prefix = f"peer_{name}-"
            clear(prefix)
            template = {"settings": {"number_of_shards": 1, "number_of_replicas": 0}, "mappings": made["mappings"]}
            ask("PUT", f"_index_template/peer_{name}", {"index_patterns": [f"{prefix}*"], "template": template})
            cost = bench.python_peer(name, rows, node.cpu, target=node.url, prefix=prefix)
            same(f"search, {label}", result(prefix), workload.total(sent[:rows])[0])
            yield label, cost


def lake(bench, sent, peers):
    """As `postgres`; files cost no server."""
    from pyarrow import compute, parquet
    expected = len(sent), sum(row.get("price_minor", 0) for row in sent)

    def result(folder):
        prices = [parquet.read_table(path, columns=["price_minor"], partitioning=None)["price_minor"]
                  for path in glob.glob(os.path.join(folder, "**", "*.parquet"), recursive=True)]
        return sum(len(price) for price in prices), sum(compute.sum(price).as_py() or 0 for price in prices)

    folder = os.path.join(bench.scratch, "lake")
    shutil.rmtree(folder, ignore_errors=True)
    bench.forget("millrace-lake")
    # The last records wait so long for others.
    settings, through = "[lake]\nflush_interval = '2s'\n", bench.progress("millrace-lake", "user_events", workload.EVENT_PARTITIONS)
    cost = bench.millrace(["lake", "--dir", folder], settings, len(sent), through, no_server)
    same("lake, millrace", result(folder), expected)
    yield "millrace", cost
    if "pyarrow" in peers:
        folder = tempfile.mkdtemp(dir=bench.scratch)
        cost = bench.python_peer("pyarrow", len(sent), no_server, target=folder)
        same("lake, pyarrow", result(folder), expected)
        yield "pyarrow", cost
    if "spark" in peers:
        folder = os.path.join(tempfile.mkdtemp(dir=bench.scratch), "lake")
        cost = bench.spark_peer("parquet", len(sent), no_server, peers["spark"], target=folder)
        same("lake, spark", result(f"{folder}-2"), expected)
        yield "Spark, Parquet", cost


def rounds_of(sink, bench, sent, peers, rounds):
    """What each took, by name; they take turns, so that a busy machine slows all of them."""
    took = {}
    for number in range(1, rounds + 1):
        for name, cost in {"postgres": postgres, "search": search, "lake": lake}[sink](bench, sent, peers):
            print(f"{sink}, round {number}: {name}: {cost.cpu:.2f} CPU-s and {cost.server:.2f} of the server, {cost.wall:.1f} s")
            sys.stdout.flush()
            took.setdefault(name, []).append(cost)
    return took


def lines(sink, took):
    """The best round of each as lines of the table."""
    best = {name: min(costs, key=lambda cost: cost.cpu + cost.server) for name, costs in took.items()}
    mark = best["millrace"]
    for name, cost in best.items():
        alone = cost.cpu / cost.rows / (mark.cpu / mark.rows)
        both = (cost.cpu + cost.server) / cost.rows / ((mark.cpu + mark.server) / mark.rows)
        peak = max(one.peak for one in took[name])
        yield (f"| {sink} | {name} | {cost.rows:,} | {cost.rows / cost.wall:,.0f} | {cost.cpu:.2f} | {cost.rows / cost.cpu:,.0f} | "
               f"{cost.server:.2f} | {peak} | {alone:.1f} | {both:.1f} |")


def missing(package):
    return package is not None and importlib.util.find_spec(package) is None


def there(sinks, peers):
    """The sinks and peers for which everything is there; of the others it says why not. With a peer comes what it needs."""
    for package, needed_by in {"confluent_kafka": SINKS, "orjson": SINKS, "psycopg": ["postgres"], "pyarrow": ["lake"]}.items():
        for sink in [sink for sink in sinks if sink in needed_by and missing(package)]:
            sinks = [other for other in sinks if other != sink]
            print(f"{sink} is left out: {package} is not installed ({INSTALL})")
    why = places.search_missing()
    if "search" in sinks and why:
        sinks = [sink for sink in sinks if sink != "search"]
        print(f"search is left out: {why}")
    found = {name: True for name in peers if not missing(PEERS[name])}
    for name in [name for name in peers if name not in found]:
        print(f"peer `{name}` is left out: {PEERS[name]} is not installed ({INSTALL})")
    if "spark" in found:
        found["spark"], why = places.spark()
        if why:
            del found["spark"]
            print(f"peer `spark` is left out: {why}")
    return sinks, found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="the millrace binary")
    parser.add_argument("--rows", type=int, default=200_000, help="rows of a sink; a tenth of it a row at a time [200,000]")
    parser.add_argument("--updates", type=int, default=5, help="how often each key comes, in PostgreSQL and search [5]")
    parser.add_argument("--sink", action="append", choices=SINKS, help="only these sinks")
    parser.add_argument("--peer", action="append", choices=PEERS, help="only these peers")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many counts [3]")
    options = parser.parse_args()
    # So that nothing stays behind: servers end with the blocks below.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    sinks, peers = there(options.sink or SINKS, options.peer or list(PEERS))
    if not sinks:
        sys.exit("nothing is left to measure")
    table = []
    scratch = tempfile.TemporaryDirectory(prefix="millrace-sinks-")
    with scratch, places.Cluster(options.program, scratch.name) as cluster, Bench(options.program, cluster, scratch.name) as bench:
        if "postgres" in sinks or "search" in sinks:
            rows = bench.fill("store_metrics", workload.metrics(options.rows, options.updates))
        for sink in sinks:
            sent = bench.fill("user_events", workload.events(options.rows)) if sink == "lake" else rows
            table += lines(sink, rounds_of(sink, bench, sent, peers, options.rounds))
    print("\n| sink | by | rows | rows/s | CPU-s | rows a CPU-second | CPU-s of the server | peak MiB | "
          "CPU a row against Millrace | with the server's |\n|---|---|---|---|---|---|---|---|---|---|")
    print("\n".join(table))


if __name__ == "__main__":
    main()
