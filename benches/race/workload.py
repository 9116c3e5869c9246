"""The race's input: events and orders of a shop over twelve hours (or one), the same for the same count."""
import os
import random

CATEGORIES = ("electronics books home garden toys sports fashion beauty grocery automotive music office pets health jewelry "
              "outdoor baby software games tools").split()
TYPES = ["page_view", "click", "add_to_cart", "search", "remove_from_cart"]
COUNTRIES = ["US", "DE", "FR", "GB", "IN", "BR", "JP", "CN", "ES", "IT"]
DEVICES = ["mobile", "desktop", "tablet"]
VISITORS = 100_000
PRODUCTS = 5_000
DISORDER_MS = 10_000
# One order to so many events.
EVENTS_AN_ORDER = 10
# What closes every window: its rows are left out of the comparison.
END = "end"
COLUMNS = ("event_id STRING, event_type STRING, user_id STRING, session_id STRING, product_id STRING, category STRING, "
           "price DOUBLE, quantity BIGINT, event_time TIMESTAMP, country STRING, device STRING")


def _time(ms):
    return (f"2026-01-{1 + ms // 86_400_000:02}T{ms // 3_600_000 % 24:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}."
            f"{ms % 1000:03}Z")


def _record(identity, dice, ms, kind):
    return (f'{{"event_id":"{dice & 0xffffffff:08x}-{dice >> 32:08x}-{identity}","event_type":"{kind}",'
            f'"user_id":"user_{dice % VISITORS:07d}","session_id":"sess_{dice % 1999993:08d}",'
            f'"product_id":"prod_{dice // VISITORS % PRODUCTS:06d}","category":"{CATEGORIES[dice // 7 % 20]}",'
            f'"price":{dice % 49900 / 100 + 1:.2f},"quantity":{dice % 5 + 1},"event_time":"{_time(ms)}",'
            f'"country":"{COUNTRIES[dice % 10]}","device":"{DEVICES[dice % 3]}"}}\n')


def _end(identity):
    return (f'{{"event_id":"{END}-{identity}","event_type":"{END}","user_id":"{END}","session_id":"{END}","product_id":"{END}",'
            f'"category":"{END}","price":0.0,"quantity":0,"event_time":"{_time(96 * 3_600_000)}","country":"{END}",'
            f'"device":"{END}"}}\n')


def make(folder, events, minutes):
    """Writes `events/1.ndjson` and `orders/1.ndjson`, and beside each a `2.ndjson` with the record that closes all windows."""
    for name, count, kinds in (("events", events, TYPES), ("orders", events // EVENTS_AN_ORDER, ["purchase"])):
        rng = random.Random(f"{name} {count} {minutes}")
        place = os.path.join(folder, name)
        os.makedirs(place, exist_ok=True)
        with open(os.path.join(place, "1.ndjson"), "w", buffering=1 << 22, encoding="ascii") as out:
            for number in range(count):
                ms = max(0, number * minutes * 60_000 // count - rng.randrange(DISORDER_MS))
                dice = rng.getrandbits(64)
                out.write(_record(f"{name[0]}{number:011d}", dice, ms, kinds[dice // 11 % len(kinds)]))
        with open(os.path.join(place, "2.ndjson"), "w", encoding="ascii") as out:
            out.write(_end(name[0]))
