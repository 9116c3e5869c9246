"""Diginetica's clicks, as the session recommenders' papers cut them, as files for `millrace evaluate recommend`.

    python3 benches/diginetica.py datasets/diginetica OUT

The folder is that of GCE-GNN's repository (`all_train_seq.txt`, `test.txt`; github: CCIIPLab/GCE-GNN): 186,670 sessions to learn and 60,858
clicks of the last week to predict, of 43,097 items, each there at least five times. They are in the order of time but without times, so
the sessions get them evenly over the five months of the set. Gives OUT/train.txt and OUT/test.txt.
"""
import pathlib
import pickle
import sys

BEGIN = 1_451_606_400
"""Seconds: the set begins in January 2016."""
TRAIN_SECONDS = 145 * 86_400
TEST_SECONDS = 7 * 86_400
CLICK_SECONDS = 20


class Lists(pickle.Unpickler):
    """Reads lists and numbers; a file that names anything to call is refused."""

    def find_class(self, module, name):
        raise pickle.UnpicklingError(f"{module}.{name} in a file of lists")


def read(path):
    with path.open("rb") as file:
        return Lists(file).load()


def sessions_of_test(prefixes, targets):
    """A session is there once for each of its clicks: as all before it, longest first."""
    longest = 0
    for prefix, target in zip(prefixes, targets):
        if longest <= 1:
            longest = len(prefix) + 1
            yield [*prefix, target]
        longest -= 1


def write(path, sessions, first_id, begin, seconds):
    with path.open("w") as file:
        file.write("SessionId\tItemId\tTime\n")
        for at, items in enumerate(sessions):
            time = begin + at * seconds // len(sessions)
            for click, item in enumerate(items):
                file.write(f"{first_id + at}\t{item}\t{time + click * CLICK_SECONDS}.0\n")


def main():
    folder, out = map(pathlib.Path, sys.argv[1:])
    train = read(folder / "all_train_seq.txt")
    test = list(sessions_of_test(*read(folder / "test.txt")))
    out.mkdir(parents=True, exist_ok=True)
    write(out / "train.txt", train, 1, BEGIN, TRAIN_SECONDS)
    write(out / "test.txt", test, len(train) + 1, BEGIN + TRAIN_SECONDS, TEST_SECONDS)
    print(f"{len(train)} sessions to learn, {len(test)} to predict with {sum(len(items) - 1 for items in test)} clicks")


if __name__ == "__main__":
    main()
