"""Runs a query of the race in batch on DuckDB: duckdb_peer.py FOLDER QUERY OUTPUT ROUNDS CORES.

No watermark, no late records, no state for recovery: it has less to do, and is the mark to reach."""
import json
import os
import sys
import time

import duckdb

from workload import COLUMNS


def main():
    folder, query, output, rounds, cores = sys.argv[1:6]
    os.makedirs(output, exist_ok=True)
    columns = ", ".join(f"{name}: '{kind.replace('STRING', 'VARCHAR')}'"
                        for name, kind in (column.split() for column in COLUMNS.split(", ")))
    with open(query, encoding="utf-8") as text:
        sql = text.read()
    for number in range(int(rounds)):
        result = os.path.join(output, f"rows-{number}")
        os.makedirs(result, exist_ok=True)
        began, before = time.monotonic(), sum(os.times()[:2])
        connection = duckdb.connect()
        connection.execute(f"SET threads = {int(cores)}")
        for name in ("events", "orders"):
            path = os.path.join(folder, name, "*.ndjson")
            connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_json('{path}', format = 'newline_delimited', "
                               f"columns = {{{columns}}})")
        connection.execute(f"COPY ({sql}) TO '{os.path.join(result, 'rows.json')}' (FORMAT json)")
        connection.close()
        used, wall = sum(os.times()[:2]) - before, time.monotonic() - began
        with open("/proc/self/status", encoding="utf-8") as status:
            peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024
        print(json.dumps({"cpu": used, "wall": wall, "peak_mib": peak, "rows": result}), flush=True)


if __name__ == "__main__":
    main()
