"""A student as an ONNX file, for whoever plays it in another language or a browser.

Try it::

    python -m baselines.export baselines/students/base-0.3m-a

The graph reads whole conversations: ``ids``, int64 of shape (rows, tokens), gives ``logits``, float32 of shape
(rows, tokens, vocabulary). It keeps no cache. Weights stay in half precision, as in ``model.safetensors``.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from agentsafe_envs.cli.complaints import run
from agentsafe_envs.core.extras import install_hint
from baselines import students
from baselines.forward import logits_at

FILE = "model.onnx"

TOLERANCE = 1e-3
"""Largest difference of a logit from torch's before a file is refused."""


class _Reader(torch.nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return logits_at(self.model, ids)


def write_onnx(folder: Path) -> Path:
    """Write the model in ``folder`` next to itself, and compare the two.

    Raises:
        ImportError: onnx, onnxscript or onnxruntime is missing; the message says how to install them.
        ValueError: The file's logits are not torch's.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  # torch's exporter needs it
    except ImportError as error:
        raise ImportError(f"ONNX files need onnx and onnxscript: {install_hint('onnx')} ({error})") from error
    model, _ = students.load(folder)
    reader, file = _Reader(model).eval(), folder / FILE
    rows, columns = torch.export.Dim("rows", min=1), torch.export.Dim("tokens", min=2, max=students.CONTEXT_TOKENS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the exporter's, of other parts of torch
        program: Any = torch.onnx.export(
            reader,
            (torch.zeros(2, 7, dtype=torch.int64),),
            input_names=["ids"],
            output_names=["logits"],
            dynamic_shapes={"ids": {0: rows, 1: columns}},
            dynamo=True,
            verbose=False,
        )
    onnx.save(_halved(program.model_proto), file)
    check_onnx(folder)
    return file


def _halved(proto: Any) -> Any:
    """Keep as float16 what was rounded to it when the model was saved, and read it as float32."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for weight in proto.graph.initializer:
        if weight.data_type == TensorProto.FLOAT and len(weight.dims):
            name, values = weight.name, numpy_helper.to_array(weight)
            if np.array_equal(values.astype(np.float16), values):
                weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
                casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    for place, cast in enumerate(casts):
        proto.graph.node.insert(place, cast)
    del proto.graph.value_info[:]  # what the exporter says of weights is no longer so
    for node in proto.graph.node:  # where in our code each step was written: a fifth of the file
        del node.metadata_props[:]
    return proto


def check_onnx(folder: Path) -> None:
    """Compare the file's logits with torch's, on rows of several lengths.

    Raises:
        ValueError: One differs by more than :data:`TOLERANCE`.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / FILE, providers=["CPUExecutionProvider"])
    model, _ = students.load(folder)
    generator = torch.Generator().manual_seed(0)
    for shape in ((1, 2), (3, 40), (1, students.CONTEXT_TOKENS)):
        ids = torch.randint(0, students.VOCABULARY, shape, generator=generator)
        with torch.no_grad():
            expected = model(input_ids=ids).logits.numpy()
        (found,) = session.run(["logits"], {"ids": ids.numpy()})
        if (far := float(np.abs(found - expected).max())) > TOLERANCE:
            raise ValueError(f"{folder / FILE}: a logit is {far:.2g} from torch's, expected at most {TOLERANCE:g}")


def main(folders: Annotated[list[Path], typer.Argument(help="Models of baselines/students.")]) -> None:
    """Write each model of FOLDERS as ONNX, next to itself."""
    for folder in folders:
        file = write_onnx(folder)
        typer.echo(f"{file}: {file.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    run(main)
