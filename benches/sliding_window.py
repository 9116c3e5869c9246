#!/usr/bin/env python3
"""CPU-seconds of a sliding window over three million events in an NDJSON file.

Count and sum(price) by category over 5-minute windows sliding by one minute, by `millrace run` and, when its Python package is
installed, by DuckDB in batch (which keeps no watermark, no state for recovery and no late records: it has less to do).
The two take turns, so that a busy machine slows both; the best of the rounds counts. Standard library only.

    cargo build --release
    python3 benches/sliding_window.py target/release/millrace [EVENTS] [ROUNDS]
"""
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time

CATEGORIES = ("electronics books home garden toys sports fashion beauty grocery automotive music office pets health jewelry "
              "outdoor baby software games tools").split()
TYPES = ["page_view", "add_to_cart", "purchase", "search", "remove_from_cart"]
COUNTRIES = ["US", "DE", "FR", "GB", "IN", "BR", "JP", "CN", "ES", "IT"]
DEVICES = ["mobile", "desktop", "tablet"]
MINUTES = 60
DISORDER_MS = 10_000
WINDOWS_OF_AN_EVENT = 5

PIPELINE = """
CREATE TABLE events (category STRING NOT NULL, price DOUBLE NOT NULL, event_time TIMESTAMP NOT NULL)
USING json OPTIONS ('path' = '{path}');

CREATE STREAMING TABLE by_category TBLPROPERTIES ('key' = 'window_start, category')
AS SELECT window.start AS window_start, category, count(*) AS events, sum(price) AS price
FROM STREAM events WATERMARK event_time DELAY OF INTERVAL 10 SECONDS
GROUP BY window(event_time, '5 minutes', '1 minute'), category;
"""

DUCKDB = """
import duckdb, sys
c = duckdb.connect(); c.execute("set threads=2")
columns = "{event_id:'VARCHAR',event_type:'VARCHAR',user_id:'VARCHAR',session_id:'VARCHAR',product_id:'VARCHAR',category:'VARCHAR'," \
    "price:'DOUBLE',quantity:'BIGINT',event_time:'TIMESTAMP',country:'VARCHAR',device:'VARCHAR'}"
print(c.execute(f'''with p as (select time_bucket(interval 1 minute, event_time) b, category, count(*) c, sum(price) s
  from read_json('{sys.argv[1]}', format='newline_delimited', columns={columns}) group by 1, 2),
  w as (select b - k * interval 1 minute ws, category, sum(c) c, sum(s) s from p, range(5) t(k) group by 1, 2)
  select sum(c) from w''').fetchone()[0])
"""


def generate(path, count):
    """Events of 274 bytes, in order but for ten seconds; the same for the same count."""
    rng = random.Random(7)
    with open(path, "w", buffering=1 << 22) as out:
        for n in range(count):
            ms = max(0, n * MINUTES * 60_000 // count - rng.randrange(DISORDER_MS))
            at = f"2026-01-01T{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}Z"
            r = rng.getrandbits(64)
            out.write(
                f'{{"event_id":"{r & 0xffffffff:08x}-{r >> 32:08x}-{n:012d}","event_type":"{TYPES[r % 5]}",'
                f'"user_id":"user_{r % 999983:07d}","session_id":"sess_{r % 1999993:08d}","product_id":"prod_{r % 99991:06d}",'
                f'"category":"{CATEGORIES[r % 20]}","price":{r % 49900 / 100 + 1:.2f},"quantity":{r % 5 + 1},'
                f'"event_time":"{at}","country":"{COUNTRIES[r % 10]}","device":"{DEVICES[r % 3]}"}}\n')


def cpu_seconds(command):
    """What a program used, all threads: user and system time; and what it wrote."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return cpu, time.monotonic() - began, after.ru_maxrss // 1024, done.stdout


def main():
    program = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 3_000_000
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    have_duckdb = subprocess.run([sys.executable, "-c", "import duckdb"], stderr=subprocess.DEVNULL).returncode == 0
    with tempfile.TemporaryDirectory() as folder:
        events, pipeline, output = (os.path.join(folder, name) for name in ("events.ndjson", "pipeline.sql", "out"))
        print(f"making {count:,} events", flush=True)
        generate(events, count)
        with open(pipeline, "w") as out:
            out.write(PIPELINE.format(path=events))
        best = {}
        for _ in range(rounds):
            runs = {"millrace": [program, "run", pipeline, "--output", output]}
            if have_duckdb:
                runs["duckdb"] = [sys.executable, "-c", DUCKDB, events]
            for name, command in runs.items():
                cpu, wall, peak, said = cpu_seconds(command)
                print(f"{name}: {cpu:.2f} CPU-s, {wall:.2f} s, {count / cpu / 1e6:.2f} M events a CPU-second, peak of all so "
                      f"far {peak} MiB", flush=True)
                best[name] = min(cpu, best.get(name, cpu))
                if name == "millrace":
                    with open(os.path.join(output, "by_category.ndjson")) as rows:
                        total = sum(json.loads(row)["events"] for row in rows)
                else:
                    total = int(said)
                assert total == count * WINDOWS_OF_AN_EVENT, f"{name} counted {total}"
        print(f"best: {best}" + (f", millrace / duckdb = {best['millrace'] / best['duckdb']:.2f}" if have_duckdb else ""))


if __name__ == "__main__":
    main()
