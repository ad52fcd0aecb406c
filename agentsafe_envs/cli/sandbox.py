"""``agentsafe sandbox``: each command parses, calls one library function, and prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

sandbox = typer.Typer(no_args_is_help=True, help="The sandbox that the Bash environments run in.")


@sandbox.command()
def build(
    out: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Folder to build in; sandboxes use the default one.")
    ] = None,
    docker: Annotated[bool, typer.Option("--docker", help="Make an image for `--sandbox docker` instead.")] = False,
    if_missing: Annotated[
        bool,
        typer.Option(
            "--if-missing", help="Keep a system of the same packages. If none can be built, say so without failing."
        ),
    ] = False,
) -> None:
    """Build the system that stands at /usr in sandboxes, with Debian's mmdebstrap.

    Without it they show this machine's own /usr, read-only. Docker always needs its image. Where mmdebstrap is
    missing, Docker builds the image from debian:bookworm-slim.
    """
    if docker:
        if out is not None:
            raise ValueError(f"{out}: Docker keeps its images itself; leave out DIR, or --docker")
        _build_image(if_missing)
        return
    from agentsafe_envs.bash.sandbox.base import SandboxError
    from agentsafe_envs.bash.sandbox.build import build as build_system
    from agentsafe_envs.bash.sandbox.build import is_current
    from agentsafe_envs.bash.sandbox.rootfs import ROOTFS_VARIABLE, default_folder

    folder = (out or default_folder()).resolve()
    if if_missing and is_current(folder):
        return
    try:
        system = build_system(folder)
    except SandboxError as error:
        if not if_missing:
            raise
        typer.echo(f"sandboxes show this machine's own /usr: {error}", err=True)
        return
    typer.echo(f"{system.describe()} is in {folder}")
    if folder != default_folder().resolve():
        typer.echo(f"use it with {ROOTFS_VARIABLE}={folder}", err=True)


def _build_image(if_missing: bool) -> None:
    from agentsafe_envs.bash.sandbox.base import SandboxError
    from agentsafe_envs.bash.sandbox.image import build_image, image_is_current

    try:
        if if_missing and image_is_current():
            return
        image = build_image()
    except SandboxError as error:
        if not if_missing:
            raise
        typer.echo(f"no image for Docker: {error}", err=True)
        return
    typer.echo(f"image {image.digest} is there; use it with --sandbox docker")
