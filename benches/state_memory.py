#!/usr/bin/env python3
"""Memory of a window's state: resident bytes a (key, pane) pair of count and sum, over a generated NDJSON file.

Every key has one event in every pane. The peak of a run with a single key is taken off: what is left is state, its growth,
and the rows of a closing window on their way out. Standard library only.

    cargo build --release
    python3 benches/state_memory.py target/release/millrace [KEYS] [PANES]
    python3 benches/state_memory.py target/release/millrace 10000000 1     ten million open keys
"""
import os
import subprocess
import sys
import tempfile
import time

SIZE_MINUTES = 5

PIPELINE = """
CREATE TABLE events (user_id STRING NOT NULL, amount BIGINT NOT NULL, event_time TIMESTAMP NOT NULL)
USING json OPTIONS ('path' = '{path}');

CREATE STREAMING TABLE by_user TBLPROPERTIES ('output_mode' = 'append', 'key' = 'window_start, user_id')
AS SELECT window.start AS window_start, user_id, count(*) AS events, sum(amount) AS amount
FROM STREAM events WATERMARK event_time DELAY OF INTERVAL 10 SECONDS
GROUP BY window(event_time, '{size} minutes', '1 minute'), user_id;
"""


def generate(path, keys, panes):
    """One event a key and minute, in order of time."""
    with open(path, "w", buffering=1 << 22) as out:
        for pane in range(panes):
            for key in range(keys):
                second = key * 60 // keys
                # 7919 is no divisor of the usual numbers of keys: neighbours in time are not neighbours in name.
                out.write(f'{{"user_id":"user_{key * 7919 % keys:08d}","amount":{key},'
                          f'"event_time":"2026-01-01T00:{pane:02}:{second:02}Z"}}\n')


def run(program, folder, keys, panes):
    """Wall seconds, CPU-seconds and peak resident bytes of a run."""
    path = os.path.join(folder, f"events-{keys}.ndjson")
    generate(path, keys, panes)
    pipeline = os.path.join(folder, f"pipeline-{keys}.sql")
    with open(pipeline, "w") as out:
        out.write(PIPELINE.format(path=path, size=max(SIZE_MINUTES, panes)))
    began = time.monotonic()
    with open(os.path.join(folder, "profile.txt"), "w+") as said:
        child = subprocess.Popen([program, "run", pipeline, "--profile"], stdout=subprocess.DEVNULL, stderr=said)
        _, status, used = os.wait4(child.pid, 0)
        said.seek(0)
        text = said.read()
    os.remove(path)
    if status != 0:
        sys.exit(f"the run failed:\n{text}")
    return time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, text


def main():
    program = sys.argv[1]
    keys = int(sys.argv[2]) if len(sys.argv) > 2 else 200_000
    panes = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    with tempfile.TemporaryDirectory(prefix="millrace-state-") as folder:
        _, _, base, _ = run(program, folder, 1, 1)
        wall, cpu, peak, profile = run(program, folder, keys, panes)
    pairs = keys * panes
    print(profile)
    print(f"{keys} keys x {panes} panes: peak {peak / 1e6:.0f} MB, {base / 1e6:.0f} MB of it without state: "
          f"{(peak - base) / pairs:.1f} bytes a pair; {pairs / cpu:.0f} events a CPU-second ({wall:.1f} s)")


if __name__ == "__main__":
    main()
