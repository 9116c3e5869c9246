"""A shop's own service: produces page views with confluent-kafka and reads what the product makes of them."""
import json
import sys
import time
from datetime import datetime, timezone

from confluent_kafka import Consumer, Producer

servers = sys.argv[1]
producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True, "compression.type": "lz4"})
for n in range(40):
    event = {
        "event_id": f"python-{n}",
        "event_type": "page_viewed",
        "event_time": datetime.now(timezone.utc).isoformat(),
        "anonymous_id": f"visitor-{n % 4}",
    }
    producer.produce("user_events", key=event["anonymous_id"], value=json.dumps(event))
assert producer.flush(30) == 0, "not everything was acknowledged"

consumer = Consumer({
    "bootstrap.servers": servers,
    "group.id": "a-service",
    "auto.offset.reset": "earliest",
    "isolation.level": "read_committed",
})
consumer.subscribe(["ledger"])
rows, end = {}, time.time() + 60
while sum(rows.values()) < 40 and time.time() < end:
    message = consumer.poll(1.0)
    if message is None:
        continue
    assert message.error() is None, message.error()
    row = json.loads(message.value())
    rows[message.key()] = row["records"]
consumer.close()
print(f"{sum(rows.values())} page views counted in the ledger")
