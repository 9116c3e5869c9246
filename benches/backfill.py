"""How fast pipelines are computed over the lake: python3 benches/backfill.py MILLRACE [EVENTS] [PIPELINE ...]

Archives a simulated shop's records, then computes the pipelines (metrics, sessions) over them, each as a command of its own, with
the embedded broker in the process. CPU time is the measure: start of the process, broker, files and transactions included.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

RATE = 2_000
ROOT = pathlib.Path(__file__).parent.parent


def main():
    program = str(pathlib.Path(sys.argv[1]).absolute())
    events = int(sys.argv[2]) if len(sys.argv) > 2 else 5_000_000
    names = sys.argv[3:] or ["metrics", "sessions"]
    with tempfile.TemporaryDirectory() as folder:
        measure(program, pathlib.Path(folder), events, names)


def measure(program, folder, events, names):
    few = folder / "pipelines"
    few.mkdir()
    (few / "few.sql").write_text(
        "-- Something for the product to run.\n"
        "CREATE STREAMING TABLE returns TBLPROPERTIES ('output_mode' = 'append')\n"
        "AS SELECT order_id, event_time FROM STREAM transactions WHERE event_type = 'order_refunded';\n"
    )
    (folder / "millrace.toml").write_text("[lake]\nflush_interval = '5s'\n")
    common = [program, "--data-dir", str(folder / "data"), "--config", str(folder / "millrace.toml")]
    up = [*common, "up", "--no-simulate", "--pipelines", str(few), "--listen", "127.0.0.1:0", "--kafka-listen", "127.0.0.1:0"]
    product = subprocess.Popen(up, cwd=ROOT, stdout=subprocess.DEVNULL)
    while not (folder / "data" / "running.json").exists():
        time.sleep(0.1)
    shop = ["simulate", "--rate", str(RATE), "--speed", "1000000", "--for", f"{events // RATE}s"]
    subprocess.run([*common, *shop], cwd=ROOT, check=True)
    archived = wait_for_archive(common)
    product.send_signal(signal.SIGINT)
    product.wait()
    size = sum(file.stat().st_size for file in (folder / "data" / "lake").rglob("*.parquet"))
    print(f"{archived:,} records archived, {size / 1e6:,.0f} MB")
    for name in names:
        started = time.monotonic()
        job = subprocess.Popen([*common, "backfill", name], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        out = job.stdout.read()
        _, status, used = os.wait4(job.pid, 0)
        took = time.monotonic() - started
        assert status == 0, out
        cpu = used.ru_utime + used.ru_stime
        records = int(next(line for line in out.splitlines() if "records of the lake" in line).split(": ")[1].split(" ")[0])
        print(f"{name}: {records:,} records, {took:.1f} s, {records / took:,.0f} a second; "
              f"{cpu:.1f} CPU-s, {records / cpu:,.0f} a CPU-second; peak {used.ru_maxrss // 1024} MiB")


def wait_for_archive(common):
    """Waits until the lake stands still."""
    last = -1
    while True:
        total = 0
        for topic in ["user_events", "transactions", "inventory_updates"]:
            ask = [*common, "query", "--format", "json", f"SELECT count(*) AS n FROM {topic}"]
            out = subprocess.run(ask, cwd=ROOT, capture_output=True, text=True).stdout
            total += json.loads(out)["n"] if out else 0
        if total == last and total > 0:
            return total
        last = total
        time.sleep(15)


if __name__ == "__main__":
    main()
