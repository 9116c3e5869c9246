#!/usr/bin/env python3
"""Simulated card payments with fraud, after the published description of the Fraud Detection Handbook (Le Borgne et al., 2022).

5,000 customers and 10,000 terminals on a square of 100 by 100; a customer pays at terminals within a radius of 5, up to four times
a day on average, amounts around a mean of their own (5 to 100). Fraud: every amount above 220; two terminals a day, whose payments
are all fraudulent for 28 days; three customers a day, a third of whose payments are five times as high for 14 days. The random
numbers are not the Handbook's, so figures agree with published ones to a few hundredths. Standard library only.

    python3 benches/handbook_payments.py payments.csv [SEED]
    millrace evaluate fraud --transactions payments.csv --label-delay 7d --train 2018-07-25..2018-07-31 --test 2018-08-08..2018-08-14
"""
import datetime
import math
import random
import sys

CUSTOMERS, TERMINALS, DAYS, RADIUS = 5_000, 10_000, 183, 5.0
START = datetime.date(2018, 4, 1)


def poisson(rng, mean):
    limit, count, product = math.exp(-mean), 0, rng.random()
    while product > limit:
        count += 1
        product *= rng.random()
    return count


def payments(rng):
    """[day, second of the day, customer, terminal, amount in cents, fraud]"""
    places = [(rng.uniform(0, 100), rng.uniform(0, 100)) for _ in range(TERMINALS)]
    cells = {}
    for at, (x, y) in enumerate(places):
        cells.setdefault((int(x // RADIUS), int(y // RADIUS)), []).append(at)
    made = []
    for customer in range(CUSTOMERS):
        x, y = rng.uniform(0, 100), rng.uniform(0, 100)
        mean, a_day = rng.uniform(5, 100), rng.uniform(0, 4)
        around = [cells.get((int(x // RADIUS) + dx, int(y // RADIUS) + dy), []) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
        near = [t for cell in around for t in cell if math.dist((x, y), places[t]) < RADIUS]
        for day in range(DAYS if near else 0):
            for _ in range(poisson(rng, a_day)):
                second = int(rng.gauss(43_200, 20_000))
                if 0 < second < 86_400:
                    amount = rng.gauss(mean, mean / 2)
                    amount = amount if amount >= 0 else rng.uniform(0, mean * 2)
                    made.append([day, second, customer, rng.choice(near), round(amount * 100), 0])
    made.sort()
    return made


def add_fraud(rng, made):
    by_day = [[] for _ in range(DAYS + 28)]
    for payment in made:
        by_day[payment[0]].append(payment)
        if payment[4] > 22_000:
            payment[5] = 1
    for day in range(DAYS):
        terminals = set(rng.sample(range(TERMINALS), 2))
        for payment in (p for d in range(day, day + 28) for p in by_day[d] if p[3] in terminals):
            payment[5] = 1
    for day in range(DAYS):
        customers = set(rng.sample(range(CUSTOMERS), 3))
        stolen = [p for d in range(day, day + 14) for p in by_day[d] if p[2] in customers]
        for payment in rng.sample(stolen, len(stolen) // 3):
            payment[4] *= 5
            payment[5] = 1


def main():
    rng = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    made = payments(rng)
    add_fraud(rng, made)
    with open(sys.argv[1], "w") as out:
        out.write("TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_FRAUD\n")
        for number, (day, second, customer, terminal, cents, fraud) in enumerate(made):
            at = datetime.datetime.combine(START + datetime.timedelta(days=day), datetime.time()) + datetime.timedelta(seconds=second)
            out.write(f"{number},{at},{customer},{terminal},{cents / 100:.2f},{fraud}\n")
    print(f"{len(made)} payments, {sum(p[5] for p in made)} fraudulent", file=sys.stderr)


if __name__ == "__main__":
    main()
