"""From a name to a model and its tokenizer, with one line for each way in which that fails.

A folder holds a model, or a LoRA adapter for one: the adapter's ``adapter_config.json`` names its base.
"""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from agentsafe_envs.agents import smollm2
from agentsafe_envs.agents.forward_torch import GROUPED_ATTENTION, register_attention
from agentsafe_envs.agents.identity import model_files
from agentsafe_envs.agents.protocol import AgentError
from agentsafe_envs.agents.students import SETTINGS_FILE, StudentSettings, read_settings
from agentsafe_envs.agents.tokenizer import read_tokenizer, require_rows
from agentsafe_envs.core.extras import install_hint

PREFIX = "hf:"
ADAPTER_FILE = "adapter_config.json"
_WEIGHTS = ("*.safetensors", "*.bin", "*.gguf")


class Source(NamedTuple):
    """Where a model comes from.

    Attributes:
        base: Folder or hub id of the model.
        adapter: Folder of a LoRA adapter for it, or None.
    """

    base: str
    adapter: Path | None = None

    def files(self) -> dict[str, Path]:
        """All files here that decide conduct; of a hub model its revision says it."""
        found = model_files(Path(self.base), "base/" if self.adapter else "")
        return found | (model_files(self.adapter) if self.adapter else {})


def find_source(spec: str) -> Source:
    """What ``spec`` means: ``"smollm2"``, a folder of a model or of a LoRA adapter, or a hub id.

    Raises:
        AgentError: No such folder, or one that holds neither, or lacks its weights.
    """
    name = spec.removeprefix(PREFIX)
    if name == smollm2.NAME:
        return Source(str(smollm2.folder()))
    folder = Path(name)
    if not name or not folder.is_dir():  # the empty path is the current folder, which nobody named
        if name.startswith(("/", ".", "~")) or name.count("/") > 1 or name.endswith("/") or not name:
            raise AgentError(
                f"there is no folder {name or 'without a name'}; expected 'smollm2', a folder written by "
                "save_pretrained, or a hub id"
            )
        return Source(name)
    if (folder / ADAPTER_FILE).is_file():
        return _adapted(folder)
    if not (folder / "config.json").is_file():
        found = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
        raise AgentError(
            f"{folder} holds no config.json and no {ADAPTER_FILE} but {found}; expected a folder that "
            "save_pretrained wrote, of a model or of a LoRA adapter"
        )
    _require_weights(folder)
    return Source(name)


def load_model(
    spec: str, dtype: str = "bfloat16", device: str | None = None, *, merge: bool = False
) -> tuple[Any, Any]:
    """A causal language model and its tokenizer.

    Args:
        spec: See :func:`find_source`; ``"hf:"`` may precede it.
        dtype: Name of a torch dtype. On CPUs with bfloat16 instructions ``"bfloat16"`` is 2-3x
            as fast as ``"float32"``, on others it is slower.
        device: For instance ``"cpu"`` or ``"cuda:0"``; None takes a GPU if there is one.
        merge: Add a LoRA adapter to the weights, so that they can be compared with the base's; else its layers
            stand next to them.

    Raises:
        AgentError: A needed package is missing, nothing can be loaded under that name, or the device is none.
    """
    name = spec.removeprefix(PREFIX)
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise AgentError(f"{PREFIX}{name} needs torch and transformers: {install_hint('lm')} ({error})") from error
    if not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise AgentError(f"dtype {dtype!r} is none of torch's; expected for instance 'bfloat16' or 'float32'")
    source = find_source(spec)
    own = source.adapter and any(source.adapter.glob("tokenizer*"))
    tokenizer_source = source.adapter if source.adapter and own else source.base
    if Path(tokenizer_source).is_dir():
        read_tokenizer(Path(tokenizer_source))
    register_attention()
    try:
        with without_progress_bars(), _without_mismatches():
            tokenizer = AutoTokenizer.from_pretrained(tokenizer_source)
            found: Any = AutoModelForCausalLM.from_pretrained(
                source.base,
                dtype=getattr(torch, dtype),
                attn_implementation=GROUPED_ATTENTION,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
            model, loaded = found
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise AgentError(
            f"cannot load model {source.base!r}: {_first_line(error)}; expected 'smollm2', a folder written by "
            "save_pretrained, or a hub id"
        ) from error
    except Exception as error:
        if type(error).__name__.startswith("StrictDataclass"):  # of the hub's package, told apart by its name alone
            raise AgentError(
                f"{source.base}/config.json contradicts itself: {_last_line(error)}; save the model again"
            ) from error
        if type(error).__name__ != "SafetensorError":  # its module is imported by transformers only
            raise
        raise AgentError(
            f"the weights of {source.base} are damaged or cut short: {error}; copy or save the model again"
        ) from error
    for weight, found, stated in sorted(loaded["mismatched_keys"]):
        raise AgentError(
            f"{weight} of {source.base} is {tuple(found)} in the weights and {tuple(stated)} by config.json; write "
            "the size of the weights into config.json (a vocabulary's is vocab_size), or save the model again"
        )
    if source.adapter:
        model = _with_adapter(model, source.adapter, merge=merge)
    rows = model.get_output_embeddings().weight.shape[0]
    require_rows(name, len(tokenizer), rows)
    try:
        model = model.eval().to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except (RuntimeError, AssertionError) as error:
        raise AgentError(
            f"device {device!r} cannot be used: {_first_line(error)}; expected for instance cpu, cuda or cuda:0"
        ) from error
    if model.device.type == "cpu":
        silence_kernel_advice()
    return model, tokenizer


def stop_ids(model: Any, tokenizer: Any) -> set[int]:
    """Ids that end an answer, by the model's own settings and by its tokenizer's."""
    configured = model.generation_config.eos_token_id
    ids = configured if isinstance(configured, list) else [configured]
    return {token for token in [*ids, tokenizer.eos_token_id] if token is not None}


def read_chat_template(file: Path | str) -> str:
    """The chat template in a file, to be used in place of the model's own.

    Raises:
        AgentError: It cannot be read, or is no text.
    """
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AgentError(f"chat template {file} cannot be read: {error}; expected a file in Jinja") from error


@contextlib.contextmanager
def without_progress_bars() -> Iterator[None]:
    """Loading or saving a small model needs no bar of transformers' own."""
    from transformers.utils import logging as bars

    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


@contextlib.contextmanager
def _without_mismatches() -> Iterator[None]:
    """Sizes that differ are told in one line of ours, and not also in a table of transformers."""

    def keep(record: logging.LogRecord) -> bool:
        return "MISMATCH" not in record.getMessage()

    told = logging.getLogger("transformers.modeling_utils")
    told.addFilter(keep)
    try:
        yield
    finally:
        told.removeFilter(keep)


@contextlib.contextmanager
def without_peft_warnings() -> Iterator[None]:
    """Peft reads a property that transformers is about to rename; a user can do nothing about that."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        yield


def silence_kernel_advice() -> None:
    """Keep transformers from recommending kernels, all of which need a GPU, to who runs on a CPU."""
    logging.getLogger("transformers.integrations.hub_kernels").setLevel(logging.ERROR)


def training_settings(spec: str) -> StudentSettings | None:
    """In which context a model was trained: as its folder says, or that of an adapter's base; None where neither does.

    Raises:
        AgentError: As :func:`find_source`, or the file cannot be read.
    """
    source = find_source(spec)
    places = (each for each in (source.adapter, Path(source.base)) if each is not None)
    found = next((each for each in places if (each / SETTINGS_FILE).is_file()), None)
    return None if found is None else read_settings(found)


def _adapted(folder: Path) -> Source:
    """The base that an adapter names."""
    try:
        base = json.loads((folder / ADAPTER_FILE).read_bytes()).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError) as error:
        raise AgentError(f"{folder / ADAPTER_FILE} cannot be read: {error}") from error
    if not base:
        raise AgentError(
            f"{folder / ADAPTER_FILE} names no base_model_name_or_path; write the base model's folder there"
        )
    _require_weights(folder)
    if base.startswith(("/", "./", "../")) and not Path(base).is_dir():
        raise AgentError(
            f"the adapter in {folder} belongs to the model in {base}, and there is no such folder; write its place "
            f"into base_model_name_or_path of {ADAPTER_FILE}"
        )
    if Path(base).is_dir():
        _require_weights(Path(base))
    return Source(base, folder)


def _require_weights(folder: Path) -> None:
    files = [path for pattern in _WEIGHTS for path in folder.glob(pattern)]
    if not files:
        raise AgentError(f"{folder} holds no weights; expected one of {', '.join(_WEIGHTS)}: copy or save them again")
    if empty := next((path for path in files if not path.stat().st_size), None):
        raise AgentError(f"{empty} is empty; copy or save the weights again")


def _with_adapter(model: Any, folder: Path, *, merge: bool) -> Any:
    """``model`` with the adapter's layers in it, so that it is still the model that transformers knows."""
    try:
        from peft import PeftModel
    except ImportError as error:
        raise AgentError(f"the LoRA adapter in {folder} needs peft: {install_hint('lm')} ({error})") from error
    try:
        with without_peft_warnings():
            adapted: Any = PeftModel.from_pretrained(model, str(folder))
        return adapted.merge_and_unload() if merge else adapted.get_base_model()
    except Exception as error:
        if not isinstance(error, OSError | ValueError | RuntimeError | KeyError | TypeError) and (
            type(error).__name__ != "SafetensorError"
        ):
            raise
        raise AgentError(
            f"the adapter in {folder} does not fit its base or is damaged: {_first_line(error)}; save it again, or "
            f"mend base_model_name_or_path in {ADAPTER_FILE}"
        ) from error


def _last_line(error: BaseException) -> str:
    """What a chain of validators says in the end."""
    return str(error).strip().splitlines()[-1].strip() or type(error).__name__


def _first_line(error: BaseException) -> str:
    """Libraries add pages of advice to what went wrong."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
