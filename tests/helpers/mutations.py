"""Seeded mutations of files: of their bytes, and of the values of a JSON object or a yaml file."""

import copy
import json
import math
import random

import yaml

_NUMBERS = (-1, 0, 1, 2, 10**6, 2**31, 2**63, 2**64, -(2**63), 10**30, 0.0, -0.0, 0.5, -0.5)
_FLOATS = (1e-300, 1e30, 1e308, math.inf, -math.inf, math.nan)
_TEXTS = ("", " ", "0", "-1", "nan", "null", "a", "\u0661", "é", "x" * 10_000, "../..", "/dev/null")
_CODES = ("\x00", "\x1b[2J", "\n", "\ud800", "a.b", "{}", "[", "${x}", "!!python/name:os.system")
_HOLDERS = ([], [None], [[]], [1, "a"], {}, {"a": 1}, {"class_path": "os.system"}, [1] * 300)
ODD = (None, True, False, *_NUMBERS, *_FLOATS, *_TEXTS, *_CODES, *_HOLDERS)
"""Values that stand where another kind was expected, or at the ends of their range."""
BYTES = (
    b"",
    b"\x00",
    b"\xff",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\r",
    b"\n",
    b"{",
    b"[",
    b'"',
    b"9" * 400,
)


def mutated_bytes(data, rng):
    """Bytes with one to four changes: flipped, cut, doubled, exchanged or filled in."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place, length = rng.randrange(len(data) + 1), rng.choice((1, 2, 8, 100, 2000))
        part = bytes(data[place : place + length])
        change = rng.randrange(7)
        if change == 0 and part:
            data[place] ^= 1 << rng.randrange(8)
        elif change == 1:
            del data[place : place + length]
        elif change == 2:
            data[place:place] = part
        elif change == 3:
            data[place : place + length] = rng.randbytes(length)
        elif change == 4:
            data[place:place] = rng.choice(BYTES)
        elif change == 5:
            del data[place:]
        else:
            other = rng.randrange(len(data) + 1)
            data[other:other] = part
    return bytes(data)


def mutated_values(value, rng):
    """Plain values with one to three changes at random places."""
    value = copy.deepcopy(value)
    for _ in range(rng.randint(1, 3)):
        places = list(_places(value))
        if places:
            _change(*rng.choice(places), rng)
    return value


def _places(value):
    """Every container with every key of it."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def _change(holder, key, rng):
    old, change = holder[key], rng.randrange(8)
    if change == 0:
        del holder[key]
    elif change == 1 and isinstance(holder, dict):
        holder[rng.choice(("x", "", "\x1b", key + " ", str(key).upper()))] = old
    elif change == 2 and isinstance(holder, dict):
        holder[rng.choice(list(holder))] = old
    elif change == 3 and isinstance(old, int | float) and not isinstance(old, bool):
        holder[key] = rng.choice((-old, old + 1, old * 10, old / 7, str(old), [old]))
    elif change == 4 and isinstance(holder, list):
        holder.insert(key, old)
    elif change == 5 and isinstance(old, list):
        rng.shuffle(old)
    else:
        holder[key] = copy.deepcopy(rng.choice(ODD))


def mutated_json(text, rng):
    """A JSON text, changed in its values or, one time in three, in its bytes."""
    if rng.random() < 1 / 3:
        return mutated_bytes(text, rng)
    return json.dumps(mutated_values(json.loads(text), rng)).encode()


def mutated_yaml(text, rng):
    """A yaml text, changed in its values or, one time in three, in its bytes."""
    if rng.random() < 1 / 3:
        return mutated_bytes(text, rng)
    values = mutated_values(yaml.safe_load(text), rng)
    return yaml.safe_dump(values).encode(errors="surrogatepass")


def mutations(original, mutate, number, seed):
    """``number`` of mutations of a file's bytes: a function of the seed."""
    for n in range(number):
        yield n, mutate(original, random.Random(f"{seed} {n}"))


_NAMES = (
    "train",
    "val",
    "valid",
    "test",
    "Test",
    "dev",
    "a",
    "b",
    ".a",
    "__MACOSX",
    "é",
    "a b",
    "x" * 200,
)
_FILES = ("1.png", ".2.png", "Thumbs.db", "3.gif", "4", "5.txt", "._1.png", "6.PNG")


def mutated_tree(text, rng):
    """A folder as JSON of names and contents: files moved, added, renamed, emptied or changed."""
    files = json.loads(text)
    for _ in range(rng.randint(1, 6)):
        name = rng.choice(list(files))
        parts = name.split("/")
        change = rng.randrange(5)
        if change == 0 and len(files) > 1:
            del files[name]
        elif change == 1:
            parts[rng.randrange(len(parts) - 1 or 1)] = rng.choice(_NAMES)
            files["/".join(parts)] = files[name]
        elif change == 2:
            files["/".join((*parts[:-1], rng.choice(_FILES)))] = files[name]
        elif change == 3:
            folders = rng.sample(_NAMES, rng.randrange(4))
            files["/".join([*folders, rng.choice(_FILES)])] = files[name]
        else:
            files[name] = mutated_bytes(bytes.fromhex(files[name]), rng).hex()
    return json.dumps(files).encode()
