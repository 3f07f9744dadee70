"""Generate the data of this example: requests for a meeting room, and the booking line of each.

Nobody wrote these requests: a seeded grammar does. It draws the booking first, then words for each part of it, the
order of the parts, small talk around them, and now and then a slip that the speaker corrects. Each list of wordings
ends with some that no example uses: 4 in 10 cases have one of them, so that no table of wordings answers the cases.

    python3 make_data.py            # writes cases.jsonl and examples.jsonl beside this file
    python3 make_data.py FOLDER     # writes them there
"""

import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

SEED = 18
N_CASES, N_EXAMPLES = 120, 340
# Shares of the requests.
NEW_WORDING, CORRECTED, CHATTY = 0.4, 0.12, 0.1
ROOMS = ("aspen", "birch", "cedar", "hazel", "juniper", "maple", "rowan", "willow")
DAYS = {"MON": "Monday", "TUE": "Tuesday", "WED": "Wednesday", "THU": "Thursday", "FRI": "Friday"}
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
EXTRAS = ("coffee", "projector", "video", "whiteboard")
OPENS, CLOSES = 9 * 60, 17 * 60
LENGTHS = (30, 60, 90, 120)


@dataclass(frozen=True)
class Wordings:
    """Ways to say one part of a request.

    Attributes:
        common: Used by examples and cases.
        new: Used by cases alone.
    """

    common: tuple[str, ...]
    new: tuple[str, ...]


ASKS = Wordings(
    (
        "book {room}", "please book {room}", "could you book {room}", "can we have {room}", "I need {room}",
        "we'd like {room}", "put us in {room}", "reserve {room}", "is {room} free? I want it", "get me {room}",
    ),
    ("would it be possible to have {room}", "{room} is what we are after", "pencil us in for {room}"),
)  # fmt: skip
ON_DAY = Wordings(
    ("on {day}", "on {day}", "this {day}", "for {day}", "{day}", "next {day}"), ("come {day}", "{day} of this week")
)
UNTIL = Wordings(("from {start} to {end}", "from {start} till {end}", "{start} to {end}", "{start} until {end}",
                  "between {start} and {end}"), ("starting {start}, out by {end}",))  # fmt: skip
PEOPLE = Wordings(
    ("for {n}", "for {n} people", "{n} of us", "we are {n}", "there will be {n} of us", "{n} people"),
    ("a party of {n}", "we'll be {n} in all"),
)
WITH_EXTRAS = {
    "coffee": Wordings(("with coffee", "coffee please", "and coffee"), ("something hot to drink: coffee",)),
    "projector": Wordings(("with a projector", "we need the projector", "projector please"), ("a projector set up",)),
    "video": Wordings(("with video", "we need the video link", "some join by video"), ("two dial in by video",)),
    "whiteboard": Wordings(
        ("with a whiteboard", "we need a whiteboard", "whiteboard please"), ("a whiteboard to draw on",)
    ),
}
SLIPS = Wordings(
    ("no, make that {right}", "sorry, {right}", "actually {right}", "no wait, {right}", "I mean {right}"),
    ("scratch that, {right}",),
)
HELLO = Wordings(
    ("hi", "hello", "good morning", "hey there", "hi all", "one more thing", "me again"), ("afternoon everybody",)
)
WHY = Wordings(
    (
        "it is the weekly review", "the auditors are in town", "we want to plan the summer party", "thanks",
        "thank you", "it's about the budget", "that would be great", "we start the new project", "cheers",
        "sorry for the short notice", "the interview panel meets", "let me know if that works",
        "the last room was too noisy",
    ),
    ("my boss insists", "we have run out of desks"),
)  # fmt: skip


@dataclass(frozen=True)
class Booking:
    """What is booked; times in minutes of the day."""

    room: str
    day: str
    start: int
    end: int
    people: int
    extras: tuple[str, ...]

    @property
    def line(self) -> str:
        """The booking line."""
        start, end = (f"{time // 60:02}:{time % 60:02}" for time in (self.start, self.end))
        return " ".join(
            ["BOOK", self.room, self.day, f"{start}-{end}", f"x{self.people}", *(f"+{one}" for one in self.extras)]
        )


class Speaker:
    """Words a booking as a request.

    Attributes:
        rng: Draws every choice.
        new: Whether new wordings may be used.
        n_new: How many were.
    """

    def __init__(self, rng: random.Random, *, new: bool) -> None:
        self.rng, self.new, self.n_new = rng, new, 0

    def request(self, booking: Booking, *, corrected: bool) -> str:
        """Return a request for `booking`; of a corrected one the first mention of one part is wrong."""
        rng = self.rng
        wrong = self._slip(booking) if corrected else booking
        ask = self._word(ASKS).format(room=wrong.room)
        parts = [self._word(ON_DAY).format(day=DAYS[wrong.day]), self._when(booking), self._people(wrong.people)]
        rng.shuffle(parts)
        text = rng.choice((" ", " ", ", ")).join([ask, *parts])
        if booking.extras:
            text += rng.choice((", ", ". ", " ")) + " and ".join(self._word(WITH_EXTRAS[e]) for e in booking.extras)
        if corrected:
            right = next(
                words
                for before, after, words in (
                    (wrong.room, booking.room, booking.room),
                    (wrong.day, booking.day, DAYS[booking.day]),
                    (wrong.people, booking.people, f"{self._number(booking.people)} of us"),
                )
                if before != after
            )
            text += rng.choice((". ", ", ", " - ")) + self._word(SLIPS).format(right=right)
        if rng.random() < CHATTY:
            text = f"{self._word(HELLO)}, {text}"
        if rng.random() < CHATTY:
            text += rng.choice((". ", ", ", "; ")) + self._word(WHY)
        return text[0].upper() + text[1:] if rng.random() < 0.5 else text

    def _word(self, wordings: Wordings) -> str:
        if self.new and self.rng.random() < 0.3:
            self.n_new += 1
            return self.rng.choice(wordings.new)
        return self.rng.choice(wordings.common)

    def _slip(self, booking: Booking) -> Booking:
        part = self.rng.choice(("room", "day", "people"))
        others: dict[str, Sequence[object]] = {"room": ROOMS, "day": tuple(DAYS), "people": range(2, 13)}
        return replace(booking, **{part: self.rng.choice([x for x in others[part] if x != getattr(booking, part)])})

    def _when(self, booking: Booking) -> str:
        start = self._time(booking.start)
        return self._word(UNTIL).format(start=start, end=self._time(booking.end))

    def _time(self, time: int) -> str:
        hour, minute = divmod(time, 60)
        here, half = NUMBERS[(hour - 1) % 12 + 1], "am" if hour < 12 else "pm"
        full = (here, f"{here} o'clock", f"{(hour - 1) % 12 + 1} {half}")
        spoken = (f"half past {here}",) * 2 if minute else full
        return self.rng.choice((*spoken, f"{hour:02}:{minute:02}"))

    def _number(self, n: int) -> str:
        return self.rng.choice((NUMBERS[n], NUMBERS[n], str(n), *{6: ("half a dozen",), 12: ("a dozen",)}.get(n, ())))

    def _people(self, n: int) -> str:
        return self._word(PEOPLE).format(n=self._number(n))


def draw_booking(rng: random.Random) -> Booking:
    """Return a booking within the opening hours."""
    length = rng.choice(LENGTHS)
    start = rng.randrange(OPENS, CLOSES - length + 1, 30)
    extras = tuple(sorted(rng.sample(EXTRAS, rng.choice((0, 0, 1)))))
    return Booking(rng.choice(ROOMS), rng.choice(list(DAYS)), start, start + length, rng.randint(2, 12), extras)


def requests(rng: random.Random, n: int, *, new: float) -> Iterator[tuple[str, str, list[str]]]:
    """Yield `n` different requests, the booking line of each, and its tags; a share `new` has new wordings."""
    taken: set[str] = set()
    while len(taken) < n:
        booking, wants_new, corrected = draw_booking(rng), rng.random() < new, rng.random() < CORRECTED
        speaker = Speaker(rng, new=wants_new)
        text = speaker.request(booking, corrected=corrected)
        if text in taken or wants_new != bool(speaker.n_new):
            continue
        taken.add(text)
        tags = ["new wording" if wants_new else "known wording", *(["correction"] if corrected else [])]
        yield text, booking.line, tags


def write(folder: Path) -> None:
    """Write `cases.jsonl` and `examples.jsonl`."""
    rng = random.Random(SEED)
    cases = [
        {"id": f"b{i:03}", "input": text, "expected": line, "tags": tags}
        for i, (text, line, tags) in enumerate(requests(rng, N_CASES, new=NEW_WORDING), 1)
    ]
    examples = [
        {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": line}]}
        for text, line, _ in requests(rng, N_EXAMPLES, new=0.0)
    ]
    for name, rows in (("cases.jsonl", cases), ("examples.jsonl", examples)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
