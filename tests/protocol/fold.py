"""The fold and the words of PROTOCOL.md 4.11, built from that section alone, with Python's own tables of Unicode.

    fold.py PROTOCOL.md SEED COUNT

Checks the vectors of the document. Then prints one line of JSON, [text, folded text, words], for every code point that
is assigned in this Python's version of Unicode, and for COUNT names that are made of such code points.
"""
import functools
import json
import random
import re
import sys
import unicodedata

DOCUMENT = open(sys.argv[1], encoding="utf-8").read()


def table(name):
    """The lines of a table of the document, in columns."""
    (body,) = re.findall(rf"^```fold {name}\n(.*?)^```$", DOCUMENT, re.M | re.S)
    return [line.split() for line in body.splitlines()]


LETTERS = {letter: plain for letter, plain in table("letters")}
SCRIPTS = [(int(first, 16), int(last, 16)) for first, last, *_ in table("scripts")]


def fold(text):
    text = unicodedata.normalize("NFKD", text)
    text = [c for c in text if not (10 <= unicodedata.combining(c) <= 35 or unicodedata.combining(c) >= 200 or c == "\u0640")]
    text = "".join(c.casefold() for c in text)
    text = "".join(LETTERS.get(c, c) for c in text)
    return unicodedata.normalize("NFC", text)


@functools.cache
def is_dense(c):
    return any(first <= ord(c) <= last for first, last in SCRIPTS)


def units(run):
    """A character and the marks after it, again and again."""
    found = []
    for c in run:
        if found and unicodedata.category(c)[0] == "M":
            found[-1] += c
        else:
            found.append(c)
    return found


def words(text):
    found = []
    run = ""
    for c in fold(text) + " ":
        if unicodedata.category(c)[0] in "LMN" or unicodedata.category(c) == "Cn":
            run += c
            continue
        spaced, dense = "", []
        for unit in units(run) + [None]:
            if unit is not None and is_dense(unit[0]):
                dense.append(unit)
            elif dense:
                found += dense + [a + b for a, b in zip(dense, dense[1:])]
                dense = []
            if unit is not None and not is_dense(unit[0]):
                spaced += unit
            elif spaced:
                found.append(spaced)
                spaced = ""
        run = ""
    return sorted(set(found))


def name(dice, assigned):
    """A name: some words of one part of Unicode each, with marks, capitals and separators of any kind."""
    text = ""
    for _ in range(dice.randint(1, 4)):
        # Most names are of the first scripts; half of what is assigned are characters of Han.
        at = dice.randrange(len(assigned) if dice.random() < 0.3 else 9000)
        near = assigned[max(0, at - 40):at + 40]
        for _ in range(dice.randint(1, 6)):
            text += chr(dice.choice(near))
            if dice.random() < 0.3:
                text += dice.choice("\u0301\u0308\u0327\u0338\u3099\u05b8\u064b\u0e48\u1039\u094d\u200d\u0345")
            if dice.random() < 0.2:
                text += dice.choice("aZßIłÆ7上海ーไ한ᄒ")
        text += dice.choice(["", " ", "_", "-", ".", "/", "(1957)", "Track "])
    return text


def main():
    checked = 0
    for body in re.findall(r"^```vector fold\n(.*?)\n```$", DOCUMENT, re.M | re.S):
        wanted, digits = body.split("\n", 1)
        wanted, digits = json.loads(wanted), bytes.fromhex(digits.replace("\n", " ")).decode()
        assert fold(wanted["text"]) == digits, wanted
        assert words(wanted["text"]) == sorted(wanted["words"]), (wanted, words(wanted["text"]))
        checked += 1
    assert checked >= 10, f"only {checked} vectors"
    assigned = [c for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]
    dice = random.Random(int(sys.argv[2]))
    public = [c for c in assigned if unicodedata.category(chr(c)) != "Co"]
    texts = [chr(c) for c in assigned] + [name(dice, public) for _ in range(int(sys.argv[3]))]
    for text in texts:
        sys.stdout.write(json.dumps([text, fold(text), words(text)]) + "\n")


main()
