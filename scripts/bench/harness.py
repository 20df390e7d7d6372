"""Interleaved measurements: contenders take turns, and ratios within a round decide."""

import dataclasses
import os
import random
import statistics
import time


class Skip(Exception):
    """Something that a benchmark or a contender needs is not there; says what."""


@dataclasses.dataclass
class Contender:
    """One way to do the work of a benchmark."""
    name: str
    #: Does the work once and gives the seconds it took; `spawn` does.
    measure: callable
    #: Makes everything ready before each measurement; not measured.
    prepare: callable = None
    #: Takes part in no more than this many rounds, for work that takes long and varies little.
    rounds: int = 1 << 30


@dataclasses.dataclass
class Target:
    """What a figure should be. `figure` says whose: a contender's ratio to `against`, or its seconds when that is None."""
    text: str
    contender: str
    limit: float
    against: str = None
    #: For rates such as bandwidth, where more is better: the ratio is turned around.
    at_least: bool = False


def spawn(arguments, directory=None, environment=None, output=os.devnull, usage=None, status=0):
    """Runs a program from start to end; seconds. stdin and stderr are /dev/null; `usage` gets its peak memory."""
    before = os.getcwd() if directory else None
    if directory:
        os.chdir(directory)
    try:
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ]
        begin = time.perf_counter_ns()
        process = os.posix_spawnp(arguments[0], arguments, os.environ if environment is None else environment,
                                  file_actions=actions)
        _, ended, resources = os.wait4(process, 0)
        took = (time.perf_counter_ns() - begin) / 1e9
    finally:
        if before:
            os.chdir(before)
    if usage is not None:
        usage["memory"] = max(usage.get("memory", 0), resources.ru_maxrss * 1024)
    if status is not None and os.waitstatus_to_exitcode(ended) != status:
        raise RuntimeError(f"{' '.join(map(str, arguments))[:200]}: exit status {os.waitstatus_to_exitcode(ended)}")
    return took


def program(*arguments, **options):
    """A measurement of `spawn` with these arguments."""
    return lambda: spawn(list(arguments), **options)


def ratios(samples, name, against):
    """Ratios of two contenders, round by round."""
    return [a / b for a, b in zip(samples[name], samples[against]) if a is not None and b is not None and b > 0]


class Benchmark:
    """One benchmark's rounds and what came of them, ready for JSON."""

    def __init__(self, name, title, contenders, rounds, baseline=None, targets=(), warmup=1, note=""):
        self.name, self.title, self.note = name, title, note
        self.contenders, self.rounds, self.warmup = contenders, rounds, warmup
        self.baseline = baseline or contenders[0].name
        self.targets = targets
        self.samples = {contender.name: [] for contender in contenders}

    def run(self):
        """Measures; gives the result. A contender that fails is left out and the failure kept."""
        begin, load = time.time(), os.getloadavg()[0]
        failures = {}
        pool = list(self.contenders)
        for number in range(-self.warmup, self.rounds):
            order = [c for c in pool if number < c.rounds and c.name not in failures]
            random.shuffle(order)
            times = {}
            for contender in order:
                try:
                    if contender.prepare:
                        contender.prepare()
                    times[contender.name] = contender.measure()
                except (RuntimeError, OSError) as error:
                    failures[contender.name] = str(error)
            if number >= 0:
                for name, values in self.samples.items():
                    values.append(times.get(name))
        return self.result(begin, load, failures)

    def result(self, begin, load, failures):
        rows = []
        for contender in self.contenders:
            values = [v for v in self.samples[contender.name] if v is not None]
            if not values or contender.name in failures:
                rows.append({"name": contender.name, "failed": failures.get(contender.name, "was not measured")})
                continue
            row = {"name": contender.name, "rounds": len(values), "median_seconds": statistics.median(values),
                   "least_seconds": min(values), "most_seconds": max(values)}
            if self.baseline in self.samples and self.baseline not in failures:
                row["ratio"] = statistics.median(ratios(self.samples, contender.name, self.baseline) or [0])
            rows.append(row)
        return {
            "name": self.name, "title": self.title, "note": self.note, "time": begin, "baseline": self.baseline,
            "seconds": time.time() - begin, "load_before": load, "load_after": os.getloadavg()[0],
            "rows": rows, "targets": [self.judge(target, failures) for target in self.targets],
        }

    def judge(self, target, failures):
        names = [target.contender] + ([target.against] if target.against else [])
        if any(name in failures or not any(self.samples.get(name, ())) for name in names):
            return judged(target.text, None, target.limit, target.at_least, "" if target.against is None else "ratio")
        if target.against is None:
            values = [v for v in self.samples[target.contender] if v is not None]
        else:
            values = ratios(self.samples, target.contender, target.against)
            if target.at_least:
                values = [1 / value for value in values]
        figure = statistics.median(values) if values else None
        return judged(target.text, figure, target.limit, target.at_least, "ratio" if target.against else "seconds")


def judged(text, figure, limit, at_least=False, unit="ratio"):
    """A target with its figure; `reached` is None when there is no figure."""
    reached = None if figure is None else figure >= limit if at_least else figure <= limit
    return {"text": text, "figure": figure, "limit": limit, "at_least": at_least, "unit": unit, "reached": reached}


def plot(name, title, x, y, lines, logarithmic=False):
    """A diagram's data: `lines` are (name, [(x, y), ...])."""
    return {"name": name, "title": title, "x": x, "y": y, "logarithmic": logarithmic,
            "lines": [{"name": line, "points": points} for line, points in lines]}


def median_of(measure, rounds, prepare=None):
    """The median of some measurements of one thing."""
    times = []
    for _ in range(rounds):
        if prepare:
            prepare()
        times.append(measure())
    return statistics.median(times)


def duration(seconds):
    """Seconds for people."""
    if seconds is None:
        return "–"
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1 or unit == "µs":
            return f"{seconds * factor:.{0 if seconds * factor >= 100 else 1 if seconds * factor >= 10 else 2}f} {unit}"
    return ""


def figure(target, value):
    """A target's figure or limit for people."""
    if value is None:
        return "–"
    if target["unit"] == "seconds":
        return duration(value)
    if target["unit"] == "bytes":
        return f"{value / 1e6:.1f} MB"
    return f"{value:.4f}" if value < 0.1 else f"{value:.2f}"
