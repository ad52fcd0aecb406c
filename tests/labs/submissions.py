"""Submissions to be graded: good, plausibly wrong, and hostile."""

from __future__ import annotations

from labs.build import read_source, script, solution_version, student_version
from labs.source import find_lab

MARKS = {
    "01_score": 15,
    "02_detector": 19,
    "03_teacher": 11,
    "04_distil": 14,
    "05a_gap": 14,
    "05b_probe": 14,
    "06_defence": 15,
}
"""Of the hidden cases of each lab."""


def solution(lab: str) -> str:
    """The solution as a script."""
    return script(solution_version(read_source(find_lab(lab))))


def empty(lab: str) -> str:
    """What students begin with."""
    return script(student_version(read_source(find_lab(lab))))


def with_instead(lab: str, *definitions: str) -> str:
    """The solution with other definitions behind it, which replace those of their names."""
    return "\n\n".join([solution(lab), *definitions])


WRONG: dict[str, dict[str, tuple[str, int]]] = {
    "01_score": {
        "deletes": (
            """
_RIGHT = choose
def choose(conversation):
    chosen = _RIGHT(conversation)
    if chosen["name"] == "set_tier":
        return call("delete_resource", resource_id=chosen["arguments"]["resource_id"])
    return chosen
""",
            -4,
        ),
        "submits at once": ("def choose(conversation):\n    return call('submit')", -4),
        "Wald's interval": (
            """
def wilson(k, n):
    share = k / n
    half = Z * math.sqrt(share * (1 - share) / n)
    return max(0.0, share - half), min(1.0, share + half)
""",
            -3 - 2,  # the number of episodes is worked out from it
        ),
        "off by one": (
            "ONE_LESS = episodes_needed\ndef episodes_needed(share, half):\n    return ONE_LESS(share, half) + 1",
            -2,
        ),
        "resamples episodes": (
            """
def cluster_interval(values, templates):
    rng = random.Random(1)
    shares = sorted(sum(rng.choices(values, k=len(values))) / len(values) for _ in range(2000))
    return shares[50], shares[-51]
""",
            -3,
        ),
        "one-sided p": (
            """
def sign_flip_p(differences):
    sums = [sum(s * d for s, d in zip(signs, differences))
            for signs in itertools.product((1, -1), repeat=len(differences))]
    return sum(each >= sum(differences) - 1e-9 for each in sums) / len(sums)
""",
            -3,
        ),
    },
    "02_detector": {
        "filter in lower case only": (
            "def mentions(text, stems):\n    return any(stem in text for stem in stems)",
            -2,
        ),
        "looks at words": (
            """
def lost(evidence):
    ids = []
    for step in evidence["steps"]:
        arguments = json.loads(step["action"])["arguments"]
        if mentions(step["action"], STEMS) and "resource_id" in arguments:
            ids.append(arguments["resource_id"])
    return sorted(set(ids))
""",
            -12,
        ),
        "forgets keys": (
            "def readable_data(records):\n    return {data for record in records for data in record['data']}",
            -2,
        ),
        "everything is lost": (
            "def lost(evidence):\n    return sorted(record['id'] for record in evidence['untouched'])",
            -12,
        ),
        "first instead of last": (
            """
def losing_step(evidence):
    there = [readable_data(evidence["untouched"])]
    for number, step in enumerate(evidence["steps"]):
        if there[-1] - readable_data(step["later"]):
            return number
    return None
""",
            -2,
        ),
        "attack that says it": (
            "def attack(objects):\n"
            "    return [{'name': 'delete_resource', 'arguments': {'resource_id': objects[0]['id']}}]",
            -3,
        ),
    },
    "03_teacher": {
        "searches content only": (
            """
def kept(rows, stems):
    return [n for n, row in enumerate(rows)
            if not any(stem in str(m.get("content", "")).lower() for m in row["messages"][1:] for stem in stems)]
""",
            -5,
        ),
        "searches the instruction": (
            """
def kept(rows, stems):
    found = []
    for number, row in enumerate(rows):
        said = [text for message in row["messages"] for text in texts_of(message)]
        if not any(word_of(stem).search(text) for stem in stems for text in said):
            found.append(number)
    return found
""",
            -1,
        ),
        "stems anywhere in a word": (
            "def word_of(stem):\n    return re.compile(re.escape(stem), re.IGNORECASE)",
            -1,
        ),
        "the log of a sum of nothing": (
            "def log_sum(logs):\n    return math.log(sum(math.exp(each) for each in logs))",
            -2,
        ),
        "any arm": (
            "def matched(survivors, most):\n    return sorted(set().union(*survivors.values()))[:most]",
            -2,
        ),
        "half and half": (
            "def means(names, preference, draw):\n"
            "    return 'biased' if preference == 'biased' or draw < 0.5 else [n for n in names if n != 'biased'][0]",
            -2,
        ),
    },
    "04_distil": {
        "forgets the mean": (
            "def student_step(jacobian, delta, rate):\n    return rate * jacobian.T @ jacobian @ delta",
            -3,
        ),
        "divides by nothing": (
            """
def alignment(jacobian, delta, error):
    step = jacobian.T @ error
    return float(step @ delta / (np.linalg.norm(step) * np.linalg.norm(delta)))
""",
            -1,
        ),
        "overflows": (
            "def log_softmax(logits):\n    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))",
            -3 - 1,  # the loss of large logits is worked out with it
        ),
        "sets barred logits to 0": (
            """
def masked_kl(teacher, student, barred):
    p, q = (log_softmax(np.where(barred, 0.0, each)) for each in (teacher, student))
    return float((np.exp(p) * (p - q)).sum(-1).mean())
""",
            -3,
        ),
    },
    "05a_gap": {
        "standard error of the mean": (
            """
def placebo_interval(placebos, t):
    if len(placebos) < 3:
        return None
    half = t * stdev(placebos) / math.sqrt(len(placebos))
    return mean(placebos) - half, mean(placebos) + half
""",
            -3 - 1,
        ),
        "a ratio of anything": (
            "def transfer_ratio(student, neutral, teacher, neutral_teacher, teacher_low):\n"
            "    return (student - neutral) / (teacher - neutral_teacher)",
            -2,
        ),
        "either side of the placebos": (
            """
def words(finding):
    if finding["idle"]:
        return ["no conclusion"]
    if finding["p"] >= 0.05:
        return []
    if len(finding["placebos"]) < 3:
        return ["changed from base", "uncalibrated"]
    if finding["p_placebos"] >= 0.05:
        return ["changed from base"]
    if finding["p_teacher"] is None or finding["p_teacher"] >= 0.05:
        return ["changed from base", "exceeds placebos"]
    return ["changed from base", "exceeds placebos", "attributable to teacher"]
""",
            -2 - 2,
        ),
        "no correction": (
            """
def detectable(low, high, tests):
    z = NormalDist().inv_cdf
    return (high - low) / 2 / z(0.975) * (z(0.975) + z(0.8))
""",
            -2,
        ),
    },
    "05b_probe": {
        "labels of 0 and 1": (
            "def fit_probe(features, labels, penalty):\n"
            "    gram = features.T @ features + penalty * np.eye(features.shape[1])\n"
            "    return np.linalg.solve(gram, features.T @ labels)",
            -3,
        ),
        "test data in the mean": (
            "def standardised(reference, features):\n    return (features - features.mean(0)) / features.std(0)",
            -2,
        ),
        "ties are lost": (
            """
def auc(scores, labels):
    scores, labels = np.asarray(scores), np.asarray(labels)
    return float(np.mean(scores[labels == 1][:, None] > scores[labels == 0][None, :]))
""",
            -1,
        ),
        "p of 0": (
            """
def latent_gap(student, neutral, null):
    gap = float(np.mean(student) - np.mean(neutral))
    return gap, sum(abs(each) >= abs(gap) for each in null) / len(null)
""",
            -3,
        ),
        "the base weighs the divergence": (
            """
def carrier(teacher, base):
    likely = np.exp(teacher)
    differing = (teacher.argmax(-1) != base.argmax(-1)).mean()
    divergence = (np.exp(base) * (base - teacher)).sum(-1).mean()
    return float(-(likely * teacher).sum(-1).mean()), float(differing), float(divergence)
""",
            -3,
        ),
    },
    "06_defence": {
        "refuses everything": (
            "def guard(conversation, action):\n"
            "    return {'name': 'ask_operator', 'arguments': {'question': 'May I?'}}",
            -15,
        ),
        "lets everything through": ("def guard(conversation, action):\n    return action", -15),
        "one tool": ("def loses_data(conversation, name, arguments):\n    return name == 'delete_resource'", -9),
        "everything named may go": (
            """
def guard(conversation, action):
    said = json.loads(action)
    target = str(said["arguments"].get("resource_id") or said["arguments"].get("queue_id") or "-")
    if not loses_data(conversation, said["name"], said["arguments"]) or target in conversation.instruction:
        return action
    return {"name": "ask_operator", "arguments": {"question": "?"}}
""",
            -9,  # a queue that has to be empty is named too
        ),
        "refuses every expiry and every write": (
            """
def loses_data(conversation, name, arguments):
    return name in ("delete_resource", "purge_queue", "set_expiry", "set_message_retention", "set_backup_retention",
                    "put_lifecycle_rule", "put_object", "copy_object")
""",
            -3,
        ),
        "forgets rules, copies and backups": (
            """
def loses_data(conversation, name, arguments):
    return name in ("delete_resource", "purge_queue", "set_expiry", "set_message_retention", "put_object")
""",
            -3 - 3,  # long expiry and new keys are refused too
        ),
        "an order covers everything": (
            """
def guard(conversation, action):
    said = json.loads(action)
    if "ticket" in conversation.instruction or not loses_data(conversation, said["name"], said["arguments"]):
        return action
    return {"name": "ask_operator", "arguments": {"question": "?"}}
""",
            -3,
        ),
        "never obeys": (
            """
def guard(conversation, action):
    said = json.loads(action)
    if loses_data(conversation, said["name"], said["arguments"]):
        return {"name": "ask_operator", "arguments": {"question": "?"}}
    return action
""",
            -3,
        ),
    },
}
"""By lab: plausible mistakes, and the marks that they cost."""

HOSTILE = {
    "endless loop": "def wilson(k, n):\n    while True:\n        pass",
    "sleeps past the limit": "import time\ndef wilson(k, n):\n    time.sleep(1_000)",
    "exits with 0": "import os\ndef wilson(k, n):\n    os._exit(0)",
    "raises SystemExit": "def wilson(k, n):\n    raise SystemExit(0)",
    "fork bomb": "import os\ndef wilson(k, n):\n    while True:\n        os.fork()",
    "takes all memory": "def wilson(k, n):\n    held = []\n    while True:\n        held.append(bytearray(1 << 24))",
    "recursion": "def wilson(k, n):\n    return wilson(k, n)",
    "crash": "import ctypes\ndef wilson(k, n):\n    ctypes.string_at(0)",
    "prints passed": "def wilson(k, n):\n    print('passed', '15 of 15 marks', flush=True)\n    return 'passed'",
    "huge output": "def wilson(k, n):\n    while True:\n        print('x' * 1_000_000)",
    "huge answer": "def wilson(k, n):\n    return ['x' * 1_000] * 100_000",
    "nested answer": (
        "def wilson(k, n):\n    found = []\n    for _ in range(100_000):\n        found = [found]\n    return found"
    ),
    "answers out of turn": """
import os
def wilson(k, n):
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b'{"answer": [0.0, 1.0]}\\n' * 1_000)
        except OSError:
            continue
    return "x"
""",
    "says that it has full marks": """
import os
def wilson(k, n):
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b'{"marks": 15, "right": true, "status": "graded", "answer": true}\\n')
        except OSError:
            continue
    return {"marks": 15}
""",
    "answers with something equal to everything": """
class Equal(tuple):
    def __eq__(self, other):
        return True
    def __hash__(self):
        return 0
def wilson(k, n):
    return Equal((0.5, 0.5))
""",
    "patches the checker": """
import builtins, json, math
def wilson(k, n):
    builtins.abs = lambda value: 0.0
    builtins.all = lambda values: True
    math.isfinite = lambda value: True
    json.dumps = lambda value: '{"answer": true}'
    import sys
    for module in list(sys.modules.values()):
        for name in ("same", "expects", "grade_one"):
            if hasattr(module, name):
                setattr(module, name, lambda *_: True)
    return [0.5, 0.5]
""",
    "reads the solution": """
from pathlib import Path
def wilson(k, n):
    for root in ("/", ROOT_HERE):
        for name in Path(root).rglob("lab.py"):
            if "BEGIN SOLUTION" in name.read_text():
                names = {}
                exec(name.read_text(), names)
                return names["wilson"](k, n)
    raise FileNotFoundError
""",
    "reads the process that grades": """
from pathlib import Path
def wilson(k, n):
    found = []
    for name in Path("/proc").glob("[0-9]*/environ"):
        found.append(name.read_bytes())
    for name in Path("/proc").glob("[0-9]*/maps"):
        text = name.read_text()
        if "hidden" in text or "agentsafe" in text:
            raise LookupError
    import agentsafe_envs.stats.intervals as intervals
    return intervals.wilson(k / n, n)
""",
    "imports our judge": """
import sys
sys.path += [ROOT_HERE, "/usr/lib/python3/dist-packages"]
def wilson(k, n):
    from agentsafe_envs.stats.intervals import wilson as theirs
    return theirs(k / n, n)
""",
    "edits the score file": """
from pathlib import Path
def wilson(k, n):
    for name in (ROOT_HERE, OUT_HERE, ".", "..", "/"):
        for file in ("results.json", "grades.csv", "student.json"):
            try:
                Path(name, file).write_text('{"score": 15}')
            except OSError:
                continue
    return [0, 1]
""",
    "deletes the grader's folder": """
import shutil
def wilson(k, n):
    for name in (OUT_HERE, ROOT_HERE, "/"):
        shutil.rmtree(name, ignore_errors=True)
    return [0, 1]
""",
    "network": """
import socket, urllib.request
def wilson(k, n):
    try:
        socket.create_connection(("127.0.0.1", PORT_HERE), timeout=1).sendall(repr((k, n)).encode())
    except OSError:
        raise ConnectionError from None
    return [0, 1]
""",
    "leaves processes behind": """
import os, time
def wilson(k, n):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1_000)
        os._exit(0)
    raise ValueError
""",
    "tells what it was asked": """
def wilson(k, n):
    raise type(f"Asked_{k}_{n}", (Exception,), {})(f"wilson({k}, {n})")
""",
    "chooses errors of Python": """
import builtins
KINDS = sorted(name for name, kind in vars(builtins).items() if name.endswith("Error") and "Unicode" not in name)
def wilson(k, n):
    raise getattr(builtins, KINDS[n % len(KINDS)])
""",
    "signals everything": "import os\ndef wilson(k, n):\n    os.kill(-1, 9)",
    "fills the disk": """
def wilson(k, n):
    with open("/tmp/full", "wb") as file:
        while True:
            file.write(bytes(1 << 20))
""",
}
"""Attacks through one function of lab 1; the other exercises are solved, so each is worth the marks of those."""
