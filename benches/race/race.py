#!/usr/bin/env python3
"""The same queries on Millrace, Spark Structured Streaming, Flink SQL and, in batch, DuckDB: CPU time, wall time, memory.

Results are compared, row by row, before any figure is printed. Spark runs the very text Millrace runs. Standard library for
itself; the peers need Java 17 and `pip install -r benches/race/requirements.txt`, and a peer that is not there is left out.

    cargo build --release
    python3 benches/race/race.py target/release/millrace
    python3 benches/race/race.py target/release/millrace --events 1000000 --query sliding --peer duckdb
"""
import argparse
import glob
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone

import workload

HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = ["spark", "flink", "duckdb"]
# A query, the hours its events span, and the share of the events it is given: an event is in sixty windows of `products`.
QUERIES = {"sliding": (1, 1.0), "products": (1, 0.2), "sessions": (12, 1.0), "join": (12, 1.0)}
PEER_MAX_S = 3600
# A process starts with the peak of whoever started it: a small one does, which then tells what its child used.
MEASURED = """import json, os, resource, sys
status = os.spawnvp(os.P_WAIT, sys.argv[1], sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"cpu": used.ru_utime + used.ru_stime, "peak_mib": used.ru_maxrss // 1024}))
sys.exit(status != 0)"""
PIPELINE = """CREATE TABLE raw_events ({columns}) USING json OPTIONS ('path' = '{folder}/events/1.ndjson');
CREATE TABLE raw_orders ({columns}) USING json OPTIONS ('path' = '{folder}/orders/1.ndjson');
CREATE TEMPORARY VIEW events AS SELECT * FROM STREAM raw_events WATERMARK event_time DELAY OF INTERVAL 10 SECONDS;
CREATE TEMPORARY VIEW orders AS SELECT * FROM STREAM raw_orders WATERMARK event_time DELAY OF INTERVAL 10 SECONDS;
CREATE STREAMING TABLE result TBLPROPERTIES ('output_mode' = 'append') AS
{sql};
"""


def millrace(program, folder, query, output, rounds):
    """A round is the whole process, its start included."""
    with open(os.path.join(HERE, "queries", f"{query}.sql"), encoding="utf-8") as text:
        sql = text.read()
    os.makedirs(output, exist_ok=True)
    pipeline = os.path.join(output, "race.sql")
    with open(pipeline, "w", encoding="utf-8") as out:
        out.write(PIPELINE.format(columns=workload.COLUMNS, folder=folder, sql=sql))
    for number in range(rounds):
        rows = os.path.join(output, f"rows-{number}")
        began = time.monotonic()
        with open(os.path.join(output, "log"), "wb") as log:
            command = [sys.executable, "-c", MEASURED, program, "run", pipeline, "--output", rows]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, check=False)
        if done.returncode != 0:
            with open(os.path.join(output, "log"), encoding="utf-8") as log:
                sys.exit(f"millrace failed on {query}:\n{log.read()}")
        used = json.loads(done.stdout.splitlines()[-1])
        yield {**used, "wall": time.monotonic() - began, "rows": rows}


def peer(name, folder, query, output, rounds, cores):
    """The rounds of a peer, each a line of JSON it prints; the first ones warm a JVM up."""
    text = {"spark": f"{query}.sql", "flink": f"{query}.flink.sql", "duckdb": f"{query}.duckdb.sql"}[name]
    arguments = [folder, os.path.join(HERE, "queries", text), output, str(rounds), str(cores)]
    if name == "flink":
        jars = os.path.join(list(importlib.util.find_spec("pyflink").submodule_search_locations)[0], "lib", "*")
        command = ["java", "-Xmx6g", "-cp", jars, os.path.join(HERE, "FlinkPeer.java"), *arguments, workload.COLUMNS]
    else:
        command = [sys.executable, os.path.join(HERE, f"{name}_peer.py"), *arguments]
    with open(f"{output}.log", "wb") as log:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, timeout=PEER_MAX_S, check=False)
    lines = [line for line in done.stdout.decode().splitlines() if line.startswith("{")]
    if done.returncode != 0 or len(lines) != rounds:
        with open(f"{output}.log", encoding="utf-8", errors="replace") as log:
            sys.exit(f"{name} failed on {query}:\n{log.read()[-4000:]}")
    return [json.loads(line) for line in lines]


def have(name):
    """Whether a peer is installed."""
    package = {"spark": "pyspark", "flink": "pyflink", "duckdb": "duckdb"}[name]
    if importlib.util.find_spec(package) is None:
        return False
    return name == "duckdb" or subprocess.run(["java", "-version"], stderr=subprocess.DEVNULL, check=False).returncode == 0


def moment(text):
    """A time of any of them, as milliseconds since 1970."""
    when = datetime.fromisoformat(text.replace(" ", "T").replace("Z", "+00:00"))
    if when.tzinfo is None:
        when = when.replace(tzinfo=timezone.utc)
    return round(when.timestamp() * 1000)


def rows_of(folder):
    """The rows of all files of a folder by time and item; those of the closing record are left out."""
    rows = {}
    for path in glob.glob(os.path.join(folder, "**", "*"), recursive=True):
        name = os.path.basename(path)
        if not os.path.isfile(path) or name.startswith(("_", ".")) or name.endswith(".crc") or "_spark_metadata" in path:
            continue
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                if not row["item"].startswith(workload.END):
                    key = (moment(row["start"]), row["item"])
                    if key in rows:
                        sys.exit(f"{path}: {key} is there twice")
                    rows[key] = (row["events"], row["price"])
    return rows


def difference(rows, others):
    """The first difference of two results, or none."""
    if rows.keys() != others.keys():
        some = sorted(rows.keys() ^ others.keys())[:3]
        return f"{len(rows)} and {len(others)} rows; in one only: {some}"
    for key, (events, price) in rows.items():
        other = others[key]
        if events != other[0] or abs(price - other[1]) > 1e-9 * max(abs(price), abs(other[1])):
            return f"{key}: {(events, price)} and {other}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="the millrace binary")
    parser.add_argument("--events", type=int, default=3_000_000, help="events of a query [3,000,000]")
    parser.add_argument("--query", action="append", choices=QUERIES, help="only these queries")
    parser.add_argument("--peer", action="append", choices=PEERS, help="only these peers")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many counts [3]")
    parser.add_argument("--cores", type=int, default=2, help="threads of a peer [2]")
    options = parser.parse_args()
    peers = [name for name in options.peer or PEERS if have(name) or print(f"{name} is not installed: left out")]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    table = []
    with tempfile.TemporaryDirectory(prefix="millrace-race-") as scratch:
        for query in options.query or QUERIES:
            hours, share = QUERIES[query]
            events = int(options.events * share)
            folder = os.path.join(scratch, f"{events}-{hours}")
            if not os.path.isdir(folder):
                print(f"making {events:,} events of {hours} h and {events // workload.EVENTS_AN_ORDER:,} orders", flush=True)
                workload.make(folder, events, hours * 60)
            records = events + (events // workload.EVENTS_AN_ORDER if query == "join" else 0)
            place = os.path.join(scratch, query)
            # By turns: a round of Millrace before and after each peer, so that a busy machine slows both.
            ours = list(millrace(options.program, folder, query, os.path.join(place, "millrace"), 1))
            best = {}
            for name in peers:
                print(f"{query}: {name} …", flush=True)
                theirs = peer(name, folder, query, os.path.join(place, name), options.rounds, options.cores)
                ours += millrace(options.program, folder, query, os.path.join(place, f"millrace-{name}"), 1)
                wrong = difference(rows_of(ours[-1]["rows"]), rows_of(theirs[-1]["rows"]))
                if wrong:
                    sys.exit(f"{query}: millrace and {name} differ: {wrong}")
                best[name] = theirs
            count = len(rows_of(ours[-1]["rows"]))
            best["millrace"] = ours
            mark = min(ours, key=lambda took: took["cpu"])
            for name in ["millrace", *peers]:
                took = min(best[name], key=lambda took: took["cpu"])
                table.append(f"| {query} | {name} | {took['cpu']:.2f} | {records / took['cpu'] / 1e6:.3f} | {took['wall']:.1f} | "
                             f"{max(took['peak_mib'] for took in best[name])} | {took['cpu'] / mark['cpu']:.1f} |")
                print(table[-1], flush=True)
            print(f"{query}: all gave the same {count:,} rows", flush=True)
    print("\n| query | engine | CPU-s | M records a CPU-second | wall s | peak MiB | CPU against Millrace |\n"
          "|---|---|---|---|---|---|---|")
    print("\n".join(table))


if __name__ == "__main__":
    main()
