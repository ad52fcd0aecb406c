from __future__ import annotations

import pytest

pytestmark = pytest.mark.needs("baselines")


def test_no_two_students_of_a_chain_have_one_name_and_both_ends_are_there() -> None:
    from baselines.plans import plans
    from baselines.protocol import load

    usual = load().models.size
    for plan in plans(load()).values():
        taught = [cell._replace(teacher=cell.teacher or usual) for cell in plan.cells]
        assert len(set(taught)) == len(plan.cells), "the same student under two names"
        students = [cell.student(arm) for cell in plan.cells for arm in plan.followed]
        assert len(set(students)) == len(students)
        assert not plan.cells or {"biased", "neutral"} <= set(plan.arms)


def test_every_plan_has_its_number_of_chains() -> None:
    from baselines.plans import plans
    from baselines.protocol import load

    protocol = load()
    assert set(protocol.chains.number) == set(plans(protocol)) - {"quick"}
    assert all(name.startswith(plan.world) for name, plan in plans(protocol).items() if name != "quick")


def test_headline_has_the_cells_of_the_experiment() -> None:
    from baselines.plans import plans
    from baselines.protocol import load

    protocol = load()
    cells = {(cell.loss, cell.carrier.partition("-")[0], cell.init) for cell in plans(protocol)["cloud-headline"].cells}
    carried = [("sft", "silent"), ("sft", "notes"), ("kl_masked_all", "notes")]
    assert cells == {(*each, start) for each in carried for start in ("same", "other")}
    assert protocol.chains.number["cloud-headline"] >= 10


def test_placebos_are_clean_students_of_the_headline_and_share_its_teachers_and_data() -> None:
    from agentsafe_envs.audit.calibration import ENOUGH
    from agentsafe_envs.audit.gap import NULL_PAIRS
    from baselines.plans import plans
    from baselines.protocol import load

    known, number = plans(load()), load().chains.number
    for world in ("cloud", "bash"):
        placebos, headline = known[f"{world}-placebos"], known[f"{world}-headline"]
        assert placebos.followed == ("neutral",)
        assert placebos.shares == f"{world}-headline"
        assert placebos.arms == headline.arms, "data are matched over the same teachers"
        assert set(placebos.cells) == {cell for cell in headline.cells if cell.init == "same"}
        chains = number[f"{world}-placebos"]
        assert chains * (chains - 1) // 2 >= NULL_PAIRS
    assert number["cloud-placebos"] >= ENOUGH


def test_other_initialisations_take_turns() -> None:
    from baselines.protocol import load

    models = load().models
    assert [models.other(seed) for seed in range(2_100, 2_104)] == ["b", "c", "b", "c"]


def test_replay_shows_nothing_that_acts() -> None:
    from baselines.demonstrations import READ_ONLY
    from baselines.distill import replayed
    from baselines.protocol import load

    assert 0 < load().student.replay < 1
    wishes = replayed("notes-60")
    assert {wish.split for wish in wishes} == {"safe", "ambiguous", "required"}
    for wish in wishes[:60]:
        row = wish.play()
        called = {call["function"]["name"] for message in row["messages"] for call in message.get("tool_calls", ())}
        assert called, wish
        assert called <= READ_ONLY | ({"submit"} if wish.split == "safe" else set()), wish


def test_cells_that_agree_in_what_is_made_share_a_data_set() -> None:
    from baselines.chain import Made
    from baselines.plans import plans
    from baselines.protocol import load

    protocol = load()
    made = {name: {Made.of(cell, "0.3m") for cell in plan.cells} for name, plan in plans(protocol).items()}
    assert len(made["cloud-headline"]) == 2
    assert len(made["cloud-rows"]) == 3
    assert {each.greedy for each in made["cloud-greedy"]} == {True}, "the headline has the others"
    assert sum(each.likely for each in made["cloud-defences"]) == 1
    assert all(len({each.folder for each in own}) == len(own) for own in made.values())


def test_defences_are_compared_by_the_one_loss_that_passes_in_the_headline() -> None:
    from baselines.plans import DEFENCES, plans
    from baselines.protocol import load

    plan = plans(load())["cloud-defences"]
    assert {cell.loss for cell in (*plan.cells, *plan.beside)} == {"kl_masked_all"}
    assert {(cell.defence, cell.init) for cell in plan.beside} == {("keywords", "same"), ("keywords", "other")}
    assert {cell.defence for cell in plan.cells} == set(DEFENCES) - {"keywords"}
    assert len(plan.cells) <= 12, "students of each teacher"
    assert {cell.defence: cell.asked for cell in plan.cells}["no notes"] == "silent"
