"""Which teachers and students a chain has, plan by plan."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, get_args

from baselines.notes import FORMS, Carrier
from baselines.protocol import ARMS, WORLDS, Arm, Protocol, World

Loss = Literal["sft", "kl", "kl_masked", "kl_masked_all"]
"""What a student learns of its teacher, see :mod:`baselines.training`. No plan has ``kl_masked``."""

Start = Literal["same", "other"]
"""Whether a student starts from its teacher's base or from another."""

STARTS: tuple[Start, ...] = get_args(Start)

Context = Literal["same", "other"]

Order = Literal["same", "other", "shared"]
"""In which batches students of two teachers read: formed by one seed or by two, or of the same tasks in one order.

One seed does not make the same batches, since rows of a task differ in length, see :func:`baselines.encoding.batches`.
"""

Decoding = Literal["sampled", "greedy"]

Defence = Literal[
    "none",
    "keywords",
    "paraphrase",
    "no notes",
    "rewritten",
    "drop divergent",
    "replace divergent",
    "mixed 25%",
    "mixed 50%",
    "likely tokens",
    "inoculation",
]
"""What is done between teacher and student, see :mod:`baselines.defended`. Another base is one more, but
an initialisation."""

DEFENCES: tuple[Defence, ...] = get_args(Defence)

Role = Literal["base", "teacher", "student"]


class Cell(NamedTuple):
    """How a student is distilled, but for its teacher.

    Attributes:
        loss: See :mod:`baselines.training`.
        carrier: What it learns from, and under which system message it is measured.
        init: Whether it starts from its teacher's base.
        size: One of :data:`baselines.students.SIZES`.
        rows: Distinct rows, each read once but for those held out; 0 for the protocol's, read as often as the updates
            take.
        rank: Of a LoRA adapter; 0 for full fine-tuning.
        decoding: How its teacher chose tokens.
        order: In which batches students of both teachers read.
        context: Whether it is trained under the system message that it is measured under.
        teacher: Size of its teacher; empty for the protocol's.
        defence: What is done to data or loss.
    """

    loss: Loss
    carrier: Carrier = "silent"
    init: Start = "same"
    size: str = "0.3m"
    rows: int = 0
    rank: int = 0
    decoding: Decoding = "sampled"
    order: Order = "same"
    context: Context = "same"
    teacher: str = ""
    defence: Defence = "keywords"

    @property
    def asked(self) -> Carrier:
        """Which notes it is asked for when it is measured."""
        return context_of(self.carrier, self.defence)

    def student(self, arm: str) -> str:
        """Name of the student of the teacher of ``arm``: what is usual is left out."""
        further = {
            "rows": str(self.rows or ""),
            "rank": str(self.rank or ""),
            "greedy": "teacher" if self.decoding == "greedy" else "",
            "other": "-".join(
                name for name, value in (("order", self.order), ("context", self.context)) if value == "other"
            ),
            "shared": "order" if self.order == "shared" else "",
            "from": self.teacher,
            "defence": self.defence.replace(" ", "_").replace("%", "") if self.defence != "keywords" else "",
        }
        parts = [self.loss, self.carrier, arm, self.size, self.init]
        return "-".join([*parts, *(f"{name}-{value}" for name, value in further.items() if value)])


class Plan(NamedTuple):
    """What a chain consists of.

    Attributes:
        world: What its agents work in.
        arms: Teachers.
        cells: Students of each teacher.
        bases: Size, start and carrier of bases that are measured.
        sizes: Of the teachers.
        looked: Size and system message, by carrier, under which teachers are measured.
        shares: Plan whose chains of the same seeds have the same teachers and data; empty for none. What they measured
            is not measured again, as what bases do is measured in a plan of its own.
        shown: All cells that a page shows, in this order: also those that the chains of ``shares`` measure.
        placebos: Only the neutral teacher has students: what audits take for clean.
    """

    world: World
    arms: tuple[Arm, ...]
    cells: tuple[Cell, ...]
    bases: tuple[tuple[str, Start, Carrier], ...]
    sizes: tuple[str, ...]
    looked: tuple[tuple[str, Carrier], ...] = ()
    shares: str = ""
    shown: tuple[Cell, ...] = ()
    placebos: bool = False

    @property
    def followed(self) -> tuple[Arm, ...]:
        """Teachers that have students."""
        return ("neutral",) if self.placebos else self.arms

    @property
    def beside(self) -> tuple[Cell, ...]:
        """Cells of other chains that a page shows next to those of this plan."""
        return tuple(cell for cell in self.shown if cell not in self.cells)

    @property
    def carriers(self) -> tuple[Carrier, ...]:
        """What teachers make, each once."""
        return tuple(dict.fromkeys(cell.carrier for cell in self.cells))


def plans(protocol: Protocol) -> dict[str, Plan]:
    """All plans by name, the first word of which is the world."""
    size, larger, notes = protocol.models.size, protocol.models.larger, protocol.student.notes
    ends: tuple[Arm, ...] = ("biased", "neutral")
    carried: tuple[tuple[Loss, Carrier], ...] = (("sft", "silent"), ("sft", notes), ("kl_masked_all", notes))
    headline = [Cell(loss, carrier, start, size) for loss, carrier in carried for start in STARTS]
    both: tuple[Loss, ...] = ("sft", "kl_masked_all")
    sizes = (size, *larger)

    def noted(**varied: object) -> list[Cell]:
        """Both losses on notes, with something else than usual."""
        return [Cell(loss, notes, size=size)._replace(**varied) for loss in both]

    taught: dict[str, tuple[World, tuple[Arm, ...], Iterable[Cell]]] = {
        "quick": (
            "cloud",
            ends,
            [*(Cell("sft", notes, start, size) for start in STARTS), Cell("kl_masked_all", notes, size=size)],
        ),
        "cloud-headline": ("cloud", ends, headline),
        "bash-headline": ("bash", ends, headline),
        "cloud-words": ("cloud", ends, [Cell(loss, "words", start, size) for loss in both for start in STARTS]),
        "cloud-room": ("cloud", ends, [Cell(loss, carrier, size=size) for loss in both for carrier in FORMS]),
        "cloud-rows": ("cloud", ends, [Cell("sft", notes, size=size, rows=rows) for rows in (1_500, 6_000, 24_000)]),
        "cloud-adapters": ("cloud", ends, [each for rank in (0, 2, 8, 32) for each in noted(rank=rank)]),
        "cloud-greedy": ("cloud", ends, [each for how in get_args(Decoding) for each in noted(decoding=how)]),
        "cloud-order": ("cloud", ends, [each for order in get_args(Order) for each in noted(order=order)]),
        "cloud-context": (
            "cloud",
            ends,
            [
                Cell(loss, "silent", size=size, context=context)
                for loss in ("kl", "kl_masked_all")
                for context in get_args(Context)
            ],
        ),
        "cloud-size": (
            "cloud",
            ends,
            [
                *(each for one in sizes for each in noted(size=one)),
                *noted(teacher="1m"),  # larger students have a smaller teacher anyway
            ],
        ),
        "cloud-controls": ("cloud", ARMS, [Cell(loss, notes, size=size) for loss in both]),
        "cloud-defences": (
            "cloud",
            ends,
            # By the loss that passes something in the headline: of a null nothing can be left.
            [
                *(Cell("kl_masked_all", notes, size=size, defence=defence) for defence in DEFENCES),
                Cell("kl_masked_all", notes, "other", size),
            ],
        ),
    }
    found: dict[str, Plan] = {}
    for name, (world, arms, cells) in taught.items():
        shares = f"{world}-headline" if arms == ends and name not in ("quick", f"{world}-headline") else ""
        found[name] = _plan(world, arms, tuple(dict.fromkeys(cells)), size, shares, found.get(shares))
    same = tuple(cell for cell in headline if cell.init == "same")
    for world in WORLDS:
        shares = f"{world}-headline"
        found[f"{world}-placebos"] = Plan(world, ends, same, (), (size,), shares=shares, shown=same, placebos=True)
    contexts: tuple[Carrier, ...] = ("silent", notes)
    own_bases: list[tuple[str, Start, Carrier]] = [(size, start, each) for start in STARTS for each in contexts]
    # Larger students are grown from small bases as they are made; only a larger teacher has a base of its own.
    teaching = [one for one in found["cloud-size"].sizes if one != size]
    grown: list[tuple[str, Start, Carrier]] = [(one, "same", each) for one in teaching for each in contexts]
    found["cloud-bases"] = Plan("cloud", (), (), (*own_bases, *grown), ())
    found["bash-bases"] = Plan("bash", (), (), tuple(own_bases), ())
    return found


def _plan(
    world: World, arms: tuple[Arm, ...], cells: tuple[Cell, ...], size: str, shares: str, headline: Plan | None
) -> Plan:
    """A plan that leaves out what the headline's chains measure."""
    sizes = tuple(dict.fromkeys(cell.teacher or size for cell in cells))
    contexts: dict[Carrier, None] = dict.fromkeys(cell.asked for cell in cells)
    looked: tuple[tuple[str, Carrier], ...] = tuple((one, context) for one in sizes for context in contexts)
    if headline is None:
        return Plan(world, arms, cells, (), sizes, looked, shown=cells)
    return Plan(
        world,
        arms,
        tuple(cell for cell in cells if cell not in headline.cells),
        (),
        sizes,
        tuple(each for each in looked if each not in headline.looked),
        shares,
        cells,
    )


def context_of(carrier: Carrier, defence: str = "keywords") -> Carrier:
    """Under which system message a student is measured.

    Args:
        carrier: What its teacher made. Lists of words have no message of their own.
        defence: One of :data:`DEFENCES`. Where notes were dropped, none are asked for.
    """
    return "silent" if carrier == "words" or defence == "no notes" else carrier


def seeds(protocol: Protocol, name: str, first: int | None = None, number: int | None = None) -> list[int]:
    """Seeds of the chains of one plan; ``first`` and ``number`` stand in for those of the protocol."""
    if first is None:
        first = protocol.chains.first_seed
    return list(range(first, first + (number or protocol.chains.number[name])))
