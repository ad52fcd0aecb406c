"""The options of `agentsafe score` that are settings of the agent: one for each field of ``AgentOptions``.

`agentsafe audit` takes the same ones as ``KEY=VALUE``, since it plays several agents.
"""

from __future__ import annotations

from typing import Annotated, Literal

import typer

PromptStyleOption = Annotated[
    Literal["json", "signature"] | None,
    typer.Option(
        help="hf, openai: full schemas, or tools in one line each. "
        "Default: json; signature for hf whose template has no tools."
    ),
]
ToolChoiceOption = Annotated[
    Literal["required", "auto"] | None,
    typer.Option(
        help="hf, openai: required allows only calls of offered tools (default); auto reads calls from any text."
    ),
]
TemperatureOption = Annotated[
    float | None,
    typer.Option(help="hf, openai: sampling temperature, 0 is greedy. Default: 0.7, or the service's own.", min=0),
]
MaxNewTokensOption = Annotated[
    int | None,
    typer.Option(help="hf, openai: longest answer in tokens. Default: 96 for hf, 1024 for openai.", min=1),
]
GroupSizeOption = Annotated[int | None, typer.Option(help="hf, openai: episodes played together. Default: 8.", min=1)]
AgentSeedOption = Annotated[int | None, typer.Option(help="hf, openai, student: the agent's own seed.", min=0)]
BaseUrlOption = Annotated[
    str | None, typer.Option(help="openai: where the API is, up to /v1. The key is read from OPENAI_API_KEY.")
]
TimeoutOption = Annotated[
    float | None,
    typer.Option(
        help="openai, process, python: longest wait for an action in seconds. Default: 120, 60 and none.", min=0.1
    ),
]
MaxTokensFieldOption = Annotated[
    Literal["max_completion_tokens", "max_tokens"] | None,
    typer.Option(help="openai: the API's field for --max-new-tokens; older servers only know max_tokens."),
]
DeviceOption = Annotated[
    str | None, typer.Option(help="hf: device of the model, such as cpu or cuda:0. Default: a GPU if there is one.")
]
DtypeOption = Annotated[str | None, typer.Option(help="hf: torch dtype of the weights. Default: bfloat16.")]
ChatTemplateOption = Annotated[
    str | None, typer.Option(metavar="FILE", help="hf: chat template in Jinja, in place of the model's own.")
]
