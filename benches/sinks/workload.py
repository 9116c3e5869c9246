"""What the sinks are given: rows of `store_metrics` and records of `user_events` by their contracts; and what must come of it."""
import random
from datetime import datetime, timedelta, timezone

import orjson

STORES = 40
EVENT_PARTITIONS = 4
MINUTE = timedelta(minutes=1)
COUNTS = ["visitors", "page_views", "searches", "product_views", "cart_adds", "checkouts", "orders", "payments_authorized",
          "payments_declined", "refunds", "gross_minor", "refunded_minor", "net_minor"]
METRICS = ["window_start", "window_end", "store_id", "currency", *COUNTS]
METRICS_KEY = ["window_start", "store_id"]
EVENT_TEXTS = ["event_id", "event_type", "store_id", "anonymous_id", "user_id", "session_id", "device_id", "device_type", "ip",
               "user_agent", "country", "channel", "path", "referrer", "query", "product_id", "category", "currency", "cart_id"]
EVENT_NUMBERS = ["results", "position", "quantity", "price_minor"]
TYPES = ["page_viewed", "product_list_viewed", "product_clicked", "product_viewed", "product_added", "products_searched"]
AGENTS = [f"Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Safari/537.36"
          for system in ("Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 10_15_7", "Linux; Android 14")
          for version in range(130, 140)]


def text(time):
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ").replace(".000000Z", "Z")


def metrics(rows, updates):
    """Rows as sliding windows give them: each minute every open window of every store again, so each key `updates` times. Beside
    each row its key, for the topic."""
    dice = random.Random(1)
    # It ends about now: rows that are past their retention would be deleted.
    start = datetime.now(timezone.utc).replace(second=0, microsecond=0) - MINUTE * (rows // (STORES * updates) + updates)
    for at in range(rows):
        minute, place = divmod(at, STORES * updates)
        opened = start + MINUTE * (minute + place // STORES)
        store = f"store-{place % STORES:02}"
        row = {"window_start": text(opened), "window_end": text(opened + 5 * MINUTE), "store_id": store, "currency": "EUR"}
        for name in COUNTS:
            row[name] = dice.randrange(100_000)
        row["net_minor"] = row["gross_minor"] - row["refunded_minor"]
        yield store.encode(), row


def total(rows):
    """How many keys there are and the sum of the last `net_minor` of each; how many rows, and the sum of all."""
    last, count, everything = {}, 0, 0
    for row in rows:
        last[tuple(row[name] for name in METRICS_KEY)] = row["net_minor"]
        count += 1
        everything += row["net_minor"]
    return (len(last), sum(last.values())), (count, everything)


def events(records):
    """Records of two hours, with the fields their type has."""
    dice = random.Random(2)
    start = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
    step = timedelta(hours=2) / records
    for at in range(records):
        kind, visitor, product = dice.choice(TYPES), dice.randrange(20_000), dice.randrange(5_000)
        row = {
            "event_id": f"{dice.getrandbits(128):032x}", "event_type": kind, "event_time": text(start + step * at),
            "store_id": f"store-{visitor % STORES:02}", "anonymous_id": f"a{visitor:08}",
            "session_id": f"s{visitor:06}-{at // 50_000}", "device_id": f"d{visitor:08}",
            "device_type": ("mobile", "desktop", "tablet")[visitor % 3],
            "ip": f"203.0.{visitor % 113}.{visitor % 251}", "user_agent": AGENTS[visitor % len(AGENTS)],
            "country": ("DE", "FR", "US", "GB", "NL")[visitor % 5], "channel": ("direct", "organic", "ads", "email")[visitor % 4],
            "path": f"/product/{product}", "currency": "EUR",
        }
        if visitor % 3 == 0:
            row["user_id"] = f"u{visitor:07}"
        if kind == "products_searched":
            row |= {"path": "/search", "query": f"shoes size {product % 50}", "results": product % 300}
        elif kind.startswith("product_") and kind != "product_list_viewed":
            row |= {"product_id": f"p{product:05}", "category": f"category-{product % 40}"}
            row["price_minor"] = 500 + product * 3 % 20_000
            if kind == "product_added":
                row |= {"quantity": 1 + product % 3, "cart_id": f"c{visitor:07}"}
            if kind == "product_clicked":
                row["position"] = 1 + product % 48
        yield row["anonymous_id"].encode(), row


def fill(producer, topic, rows):
    """Sends the rows, and gives them back."""
    sent = []
    for key, row in rows:
        sent.append(row)
        while True:
            try:
                producer.produce(topic, orjson.dumps(row), key)
                break
            except BufferError:
                producer.poll(0.1)
        if len(sent) % 10_000 == 0:
            producer.poll(0)
    if producer.flush(120):
        raise SystemExit(f"the broker did not take all records of {topic}")
    return sent
