#!/usr/bin/env python3
"""The fraud model beside river's online logistic regression, on the same payments and under the same protocol.

Payments come one by one; labels come a week late, in the order of days; the test is the week of the protocol, without customers
known to be defrauded. river (Montiel et al., JMLR 2021) gets the Handbook's own features, kept in plain Python: amount, weekend,
night, number and mean amount of a customer's payments over 1, 7 and 30 days, number and share of fraud at a terminal over 1, 7 and 30
days that end a week ago. Its model is the one of the product's kind: logistic regression by FTRL-Proximal, on scaled features. Times
are CPU time of a payment: features, score, and its label when it comes. Needs `pip install river`.

    python3 benches/handbook_payments.py payments.csv
    python3 benches/river_online.py target/release/millrace payments.csv [DAYS]

DAYS bounds how many days before the test are learnt (millions of payments take minutes); millrace takes them all.
"""
import collections
import csv
import datetime
import json
import subprocess
import sys
import time

TRAIN = (datetime.date(2018, 7, 25), datetime.date(2018, 7, 31))
TEST = (datetime.date(2018, 8, 8), datetime.date(2018, 8, 14))
DELAY, BUDGET = 7, 100
SPANS = (1, 7, 30)


def read(path, first):
    """Day, hour, customer, terminal, amount and label of each payment from a day on, by time."""
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            at = datetime.datetime.fromisoformat(row["TX_DATETIME"])
            if at.date() >= first:
                yield at.date(), at.hour, row["CUSTOMER_ID"], row["TERMINAL_ID"], float(row["TX_AMOUNT"]), row["TX_FRAUD"] == "1"


class Features:
    """What the Handbook computes, by day: a sum over days is as good as its windows of seconds for a model that learns both alike."""

    def __init__(self):
        self.customers = collections.defaultdict(collections.deque)
        self.terminals = collections.defaultdict(collections.deque)

    def take(self, day, hour, customer, terminal, amount):
        vector = {"amount": amount, "weekend": float(day.weekday() >= 5), "night": float(hour <= 6)}
        number = day.toordinal()
        paid = self.customers[customer]
        while paid and paid[0][0] <= number - SPANS[-1]:
            paid.popleft()
        for span in SPANS:
            amounts = [amount for at, amount in paid if at > number - span]
            vector[f"customer_payments_{span}"] = float(len(amounts))
            vector[f"customer_mean_{span}"] = sum(amounts) / len(amounts) if amounts else 0.0
        known = self.terminals[terminal]
        while known and known[0][0] <= number - DELAY - SPANS[-1]:
            known.popleft()
        for span in SPANS:
            labels = [fraud for at, fraud in known if number - DELAY - span < at <= number - DELAY]
            vector[f"terminal_payments_{span}"] = float(len(labels))
            vector[f"terminal_risk_{span}"] = sum(labels) / len(labels) if labels else 0.0
        paid.append((number, amount))
        return vector

    def learn(self, day, terminal, fraud):
        self.terminals[terminal].append((day.toordinal(), fraud))


def logistic():
    from river import linear_model, optim, preprocessing
    return preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.FTRLProximal())


def play(model, payments):
    """Scores of the test week, and CPU microseconds of a payment."""
    features, waiting, scored, known, defrauded = Features(), collections.deque(), [], set(), collections.deque()
    began, count = time.thread_time_ns(), 0
    for day, hour, customer, terminal, amount, fraud in payments:
        if day > TEST[1]:
            break
        # What was paid a week ago is known now.
        while waiting and (day - waiting[0][0]).days >= DELAY:
            then, whose, where, vector, label = waiting.popleft()
            features.learn(then, where, label)
            model.learn_one(vector, label)
            if label and TRAIN[0] <= then:
                defrauded.append((then, whose))
        while defrauded and (day - defrauded[0][0]).days > DELAY:
            known.add(defrauded.popleft()[1])
        vector = features.take(day, hour, customer, terminal, amount)
        if day >= TEST[0] and customer not in known:
            scored.append((day, customer, model.predict_proba_one(vector).get(True, 0.0), fraud))
        waiting.append((day, customer, terminal, vector, fraud))
        count += 1
    return scored, (time.thread_time_ns() - began) / 1e3 / count


def average_precision(scored):
    found = sum_ = 0
    ordered = sorted(scored, key=lambda one: -one[2])
    for number, one in enumerate(ordered, 1):
        if one[3]:
            found += 1
            sum_ += found / number
    return sum_ / found


def card_precision(scored):
    """Of the customers with the highest scores of a day, the share that was defrauded; those found are not looked at again."""
    days, known = [], set()
    for day in sorted({one[0] for one in scored}):
        customers = {}
        for _, customer, score, fraud in (one for one in scored if one[0] == day and one[1] not in known):
            before = customers.get(customer, (0.0, False))
            customers[customer] = (max(before[0], score), before[1] or fraud)
        best = sorted(customers.items(), key=lambda one: -one[1][0])[:BUDGET]
        found = [customer for customer, (_, fraud) in best if fraud]
        known.update(found)
        days.append(len(found) / BUDGET)
    return sum(days) / len(days)


def tell(name, precision, cards, micros, frauds):
    print(f"{name:28} AP {precision:.3f}  card precision@{BUDGET} {cards:.3f}  CPU µs a payment {micros:8.1f}  ({frauds} frauds)", flush=True)


def main():
    program, path = sys.argv[1:3]
    first = TEST[0] - datetime.timedelta(days=int(sys.argv[3])) if len(sys.argv) > 3 else datetime.date.min
    span = "..".join
    command = [program, "evaluate", "fraud", "--transactions", path, "--label-delay", f"{DELAY}d", "--train",
               span(map(str, TRAIN)), "--test", span(map(str, TEST)), "--format", "json"]
    told = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    for model in told["models"]:
        tell(f"millrace, {model['model']}", model["average_precision"], model["card_precision"], told["score_cpu_micros"],
             told["test"]["frauds"])
    scored, micros = play(logistic(), read(path, first))
    tell("river, logistic (FTRL)", average_precision(scored), card_precision(scored), micros, sum(one[3] for one in scored))


if __name__ == "__main__":
    main()
