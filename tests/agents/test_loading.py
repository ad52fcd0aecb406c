"""Folders of models and LoRA adapters: what works, and one line for each way in which it does not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.agents import AgentError, AgentOptions, load_agent
from agentsafe_envs.agents.loading import ADAPTER_FILE, find_source
from agentsafe_envs.agents.protocol import Conversation
from agentsafe_envs.agents.students import VARIABLE, students
from agentsafe_envs.core.extras import install_hint

pytestmark = [pytest.mark.needs("lm"), pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore")]

BASE = "base-0.3m-a"


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter for the smallest base, with weights that change what it says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("adapter")
    model: Any = AutoModelForCausalLM.from_pretrained(students()[BASE], dtype="float32")
    model = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The smallest base in a folder of its own, that a test may spoil."""
    shutil.copytree(students()[BASE], tmp_path / "model")
    return tmp_path / "model"


def adapted(adapter: Path, tmp_path: Path, **config: Any) -> Path:
    """A copy of the adapter, with another configuration."""
    folder = shutil.copytree(adapter, tmp_path / "adapter")
    found = json.loads((folder / ADAPTER_FILE).read_text())
    (folder / ADAPTER_FILE).write_text(json.dumps(found | config))
    return folder


def logits(agent: Any) -> Any:
    import torch

    ids = torch.tensor([agent.encode(Conversation("Make room.", []))])
    with torch.no_grad():
        return agent.model(input_ids=ids).logits[0, -1].float()


def test_adapter_is_loaded_onto_its_base(adapter: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    options = AgentOptions(dtype="float32", tool_choice="auto", prompt_style="json")
    agent, plain = load_agent(f"hf:{adapter}", options), load_agent(f"hf:{students()[BASE]}", options)
    found, expected_model = logits(agent), AutoModelForCausalLM.from_pretrained(students()[BASE], dtype="float32")
    expected = PeftModel.from_pretrained(expected_model, str(adapter))
    ids = torch.tensor([agent.encode(Conversation("Make room.", []))])  # type: ignore[attr-defined]
    with torch.no_grad():
        torch.testing.assert_close(found, expected(input_ids=ids).logits[0, -1], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(found, logits(plain), atol=1e-2)
    said = agent.describe()
    assert said["identity"] != plain.describe()["identity"]
    assert said["model"] == f"hf:{adapter}"
    assert agent.act([Conversation("Make room.", [])])


@pytest.mark.filterwarnings("error::FutureWarning")
def test_adapter_is_loaded_without_a_word(adapter: Path) -> None:
    load_agent(f"hf:{adapter}")


def test_identity_of_an_adapter_knows_its_base(adapter: Path, model: Path, tmp_path: Path) -> None:
    folder = adapted(adapter, tmp_path, base_model_name_or_path=str(model))
    before = set(find_source(str(folder)).files())
    assert {"base/model.safetensors", "adapter_model.safetensors"} <= before


def test_adapter_without_peft_says_how_to_install_it(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(AgentError) as caught:
        load_agent(f"hf:{adapter}")
    assert f"needs peft: {install_hint('lm')}" in str(caught.value)


def spoil_adapter(folder: Path, way: str) -> None:
    weights = folder / "adapter_model.safetensors"
    if way == "missing":
        weights.unlink()
    elif way == "empty":
        weights.write_bytes(b"")
    else:
        weights.write_bytes(weights.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("way", "words"), [("missing", "holds no weights"), ("empty", "is empty"), ("cut", "does not fit its base or is")]
)
def test_spoilt_adapter_is_one_line(way: str, words: str, adapter: Path, tmp_path: Path) -> None:
    folder = adapted(adapter, tmp_path)
    spoil_adapter(folder, way)
    assert_complains(f"hf:{folder}", words)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"base_model_name_or_path": None}, "names no base_model_name_or_path"),
        ({"base_model_name_or_path": "/nowhere/model"}, "belongs to the model in /nowhere/model, and there is no such"),
    ],
)
def test_adapter_without_its_base_is_one_line(
    config: dict[str, Any], words: str, adapter: Path, tmp_path: Path
) -> None:
    assert_complains(f"hf:{adapted(adapter, tmp_path, **config)}", words)


def test_adapter_of_another_model_is_one_line(adapter: Path, tmp_path: Path) -> None:
    folder = adapted(adapter, tmp_path, base_model_name_or_path=str(students()["base-1m-a"]))
    assert_complains(f"hf:{folder}", "does not fit its base or is damaged")


CONTRADICTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "another vocabulary": ("config.json", {"vocab_size": 1600}),
    "contradictory layers": ("config.json", {"num_hidden_layers": 7}),
    "odd settings": ("agent.json", {"temperature": "hot", "nonsense": 3}),
}


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("no weights", "holds no weights"),
        ("empty weights", "is empty"),
        ("cut weights", "are damaged or cut short"),
        ("nothing", "holds no config.json and no adapter_config.json but nothing"),
        ("no tokenizer", "holds no tokenizer.json; copy tokenizer.json and tokenizer_config.json of the base"),
        ("cut tokenizer", r"tokenizer.json is damaged \(.*\); copy tokenizer.json"),
        ("another vocabulary", r"is \(1536, 64\) in the weights and \(1600, 64\) by config.json; write"),
        ("contradictory layers", "config.json contradicts itself: .*num_hidden_layers"),
        ("odd settings", "agent.json does not say how .* temperature: .*; nonsense: Extra inputs .*; mend it"),
        ("one token more", "tokens and the model only 1536; call model.resize_token_embeddings"),
        ("no end token", "names no token that ends an answer; set eos_token_id"),
        ("no template", "has no chat template; .* or --chat-template FILE"),
    ],
)
def test_spoilt_model_is_one_line(way: str, words: str, model: Path) -> None:
    weights = model / "model.safetensors"
    if way == "no weights":
        weights.unlink()
    elif way == "empty weights":
        weights.write_bytes(b"")
    elif way == "cut weights":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif way == "no tokenizer":
        (model / "tokenizer.json").unlink()
    elif way == "cut tokenizer":
        (model / "tokenizer.json").write_bytes((model / "tokenizer.json").read_bytes()[:-100])
    elif way in CONTRADICTIONS:
        name, change = CONTRADICTIONS[way]
        (model / name).write_text(json.dumps(json.loads((model / name).read_text()) | change))
    elif way == "nothing":
        shutil.rmtree(model)
        model.mkdir()
    elif way == "one token more":
        from transformers import AutoTokenizer

        tokenizer: Any = AutoTokenizer.from_pretrained(model)
        tokenizer.add_tokens([f"<more-{number}>" for number in range(1537 - len(tokenizer))])
        tokenizer.save_pretrained(model)
    elif way == "no end token":
        for name, key in (("generation_config.json", "eos_token_id"), ("config.json", "eos_token_id")):
            found = json.loads((model / name).read_text())
            (model / name).write_text(json.dumps(found | {key: None}))
        found = json.loads((model / "tokenizer_config.json").read_text())
        found.pop("eos_token", None)
        (model / "tokenizer_config.json").write_text(json.dumps(found))
    else:
        (model / "chat_template.jinja").unlink()
    assert_complains(f"hf:{model}", words)


@pytest.mark.parametrize("way", ["another vocabulary", "contradictory layers"])
def test_transformers_prints_no_table_of_its_own(
    way: str, model: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    name, change = CONTRADICTIONS[way]
    (model / name).write_text(json.dumps(json.loads((model / name).read_text()) | change))
    assert_complains(f"hf:{model}", "")
    assert "MISMATCH" not in capfd.readouterr().err + caplog.text


@pytest.mark.parametrize("way", ["no tokenizer", "cut tokenizer"])
def test_spoilt_tokenizer_of_a_student_is_one_line(way: str, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = (model / "tokenizer.json").read_bytes()
    (model / "tokenizer.json").unlink()
    if way == "cut tokenizer":
        (model / "tokenizer.json").write_bytes(tokenizer[:-100])
    monkeypatch.setenv(VARIABLE, str(model.parent))
    assert_complains("student:model", "tokenizer.json.*; copy tokenizer.json")


@pytest.mark.parametrize("name", ["./nothere", "nothere/", "/nothere", "~/nothere", "a/b/c", ""])
def test_folder_that_is_not_there_is_named_as_one(name: str) -> None:
    assert_complains(f"hf:{name}", f"there is no folder {name or 'without a name'}; expected 'smollm2'")


def test_chat_template_of_a_file_takes_the_place_of_the_models_own(model: Path, tmp_path: Path) -> None:
    (model / "chat_template.jinja").rename(tmp_path / "mine.jinja")
    text = (tmp_path / "mine.jinja").read_text()
    agent: Any = load_agent(f"hf:{model}", AgentOptions(chat_template=str(tmp_path / "mine.jinja")))
    assert agent.tokenizer.chat_template == text
    (tmp_path / "mine.jinja").write_text("{# other #}" + text)
    other = load_agent(f"hf:{model}", AgentOptions(chat_template=str(tmp_path / "mine.jinja")))
    assert other.describe()["identity"] != agent.describe()["identity"]


def test_chat_template_that_is_not_there_is_one_line(model: Path) -> None:
    assert_complains(f"hf:{model}", "chat template nowhere.jinja cannot be read", chat_template="nowhere.jinja")


def test_dtype_and_device_are_obeyed(model: Path) -> None:
    import torch

    agent: Any = load_agent(f"hf:{model}", AgentOptions(dtype="float16", device="cpu"))
    assert (agent.model.dtype, agent.model.device.type) == (torch.float16, "cpu")
    assert (agent.describe()["dtype"], agent.describe()["device"]) == ("float16", "cpu")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"device": "teapot"}, "device 'teapot' cannot be used: .*; expected for instance cpu, cuda or cuda:0"),
        ({"device": "cuda:99"}, "device 'cuda:99' cannot be used"),
        ({"dtype": "float7"}, "dtype 'float7' is none of torch's"),
    ],
)
def test_unusable_device_or_dtype_is_one_line(options: dict[str, Any], words: str, model: Path) -> None:
    assert_complains(f"hf:{model}", words, **options)


def assert_complains(spec: str, words: str, **options: Any) -> None:
    with pytest.raises(AgentError, match=words) as caught:
        load_agent(spec, AgentOptions(**options))
    assert "\n" not in str(caught.value)
