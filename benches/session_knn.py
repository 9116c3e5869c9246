#!/usr/bin/env python3
"""The recommender beside a plain session-kNN in Python, on the same files of clicks and under the same convention.

The peer is V-SKNN as papers use it (Ludewig and Jannach, UMUAI 2018), with linear weights, the 1,000 newest sessions and 200
neighbours, in plain Python dictionaries; and, when its package is installed, implicit's item-kNN with BM25 weights on the session
so far. Every one predicts after every click but a session's last; all items known from training are ranked, cut at 20, nothing of
the test is learnt; an event that cannot be answered counts as a miss. Times are CPU time of the thread (Python) and what `millrace
evaluate` tells. Standard library only, but for implicit.

    cargo build --release
    python3 benches/session_knn.py target/release/millrace TRAIN TEST [EVENTS]

Files are tab-separated with a header: session, item, time in seconds. `cargo bench -p millrace-intelligence -- --write DIR` makes a
pair. EVENTS bounds how many events the peers are asked (they are slow); millrace answers all.
"""
import collections
import json
import math
import subprocess
import sys
import time

NEWEST = 1000
NEIGHBOURS = 200
COUNT = 20
LAST_ITEMS = 10


def read(path):
    """Sessions in the order of their last click: lists of (item, time)."""
    sessions = collections.defaultdict(list)
    with open(path) as lines:
        next(lines)
        for line in lines:
            session, item, at = line.rstrip("\n").split("\t")
            sessions[session].append((float(at), item))
    ordered = [sorted(clicks, key=lambda click: click[0]) for clicks in sessions.values()]
    ordered.sort(key=lambda clicks: clicks[-1][0])
    return [[item for _, item in clicks] for clicks in ordered]


class SessionKnn:
    """V-SKNN: the newest sessions that share an item, weighted by how late the shared items come."""

    def __init__(self, sessions):
        self.sessions = [set(session) for session in sessions]
        self.of_item = collections.defaultdict(list)
        for number, session in enumerate(self.sessions):
            for item in session:
                self.of_item[item].append(number)
        self.rarity = {item: math.log(len(sessions) / len(held)) for item, held in self.of_item.items()}

    def rank(self, items):
        """Items, best first."""
        items = items[-LAST_ITEMS:]
        weights = {item: (at + 1) / len(items) for at, item in enumerate(items)}
        candidates = set()
        for item in weights:
            candidates.update(self.of_item.get(item, ())[-NEWEST:])
        newest = sorted(candidates, reverse=True)[:NEWEST]
        similar = [(sum(weights[item] for item in weights if item in self.sessions[number]), number) for number in newest]
        similar.sort(reverse=True)
        scores = collections.defaultdict(float)
        for similarity, number in similar[:NEIGHBOURS]:
            session = self.sessions[number]
            place = next(n for n, item in enumerate(reversed(items)) if item in session)
            decay = max(0.0, 1 - 0.1 * place)
            for item in session:
                scores[item] += similarity * decay * (1 + self.rarity[item])
        return sorted(scores, key=scores.get, reverse=True)


class ItemKnn:
    """implicit's BM25 item-kNN, asked with the items of the session so far."""

    def __init__(self, sessions):
        import implicit.nearest_neighbours
        import scipy.sparse
        self.sparse = scipy.sparse
        self.numbers = {}
        rows, columns = [], []
        for row, session in enumerate(sessions):
            for item in set(session):
                rows.append(row)
                columns.append(self.numbers.setdefault(item, len(self.numbers)))
        self.names = list(self.numbers)
        matrix = scipy.sparse.csr_matrix(([1.0] * len(rows), (rows, columns)))
        self.model = implicit.nearest_neighbours.BM25Recommender(K=100, num_threads=1)
        self.model.fit(matrix, show_progress=False)

    def rank(self, items):
        """Items, best first."""
        known = [self.numbers[item] for item in items[-LAST_ITEMS:] if item in self.numbers]
        if not known:
            return []
        user = self.sparse.csr_matrix(([1.0] * len(known), ([0] * len(known), known)), shape=(1, len(self.names)))
        found, _ = self.model.recommend(0, user, N=COUNT + 1, filter_already_liked_items=False)
        return [self.names[number] for number in found]


def measure(name, model, test, events):
    """Prints the figures of a peer, the current item left out."""
    hits = reciprocal = asked = 0
    spent = []
    for session in test:
        for at in range(1, len(session)):
            if asked == events:
                break
            began = time.thread_time_ns()
            ranked = model.rank(session[:at])
            spent.append(time.thread_time_ns() - began)
            answer = [item for item in ranked[:COUNT + 1] if item != session[at - 1]][:COUNT]
            asked += 1
            if session[at] in answer:
                hits += 1
                reciprocal += 1 / (answer.index(session[at]) + 1)
    spent.sort()
    tell(name, hits / asked, reciprocal / asked, spent[len(spent) // 2] / 1e3, spent[len(spent) * 99 // 100] / 1e3, asked)


def tell(name, hit_rate, reciprocal, p50, p99, asked):
    print(f"{name:28} HR@20 {hit_rate:.4f}  MRR@20 {reciprocal:.4f}  answer CPU µs p50 {p50:9.1f} p99 {p99:9.1f}  ({asked} events)",
          flush=True)


def main():
    program, train_file, test_file = sys.argv[1:4]
    events = int(sys.argv[4]) if len(sys.argv) > 4 else 3_000
    command = [program, "evaluate", "recommend", "--train", train_file, "--test", test_file, "--mode", "static", "--current",
               "left-out", "--format", "json"]
    told = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)["results"][0]
    cpu = told["answer_cpu_micros"]
    tell("millrace", told["hit_rate"], told["mrr"], cpu["p50"], cpu["p99"], told["events"])
    train, test = read(train_file), read(test_file)
    measure("V-SKNN, plain Python", SessionKnn(train), test, events)
    try:
        model = ItemKnn(train)
    except ImportError:
        print("implicit is not installed: left out")
    else:
        measure("implicit item-kNN (BM25)", model, test, events)


if __name__ == "__main__":
    main()
