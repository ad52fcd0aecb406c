"""Building the image for Docker: the system of ``build.py``, and beside it what the daemon needs.

The image's own root has Python, strace and bubblewrap, and is trusted. What the agent sees as /usr and /etc lies in a
folder of it. Where mmdebstrap is at hand both are built by it, and nothing is pulled. Elsewhere Docker builds the same
from ``debian:bookworm-slim``.
"""

from __future__ import annotations

import contextlib
import io
import shlex
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from agentsafe_envs.bash.files.start import CLOCK_S
from agentsafe_envs.bash.sandbox import relocate
from agentsafe_envs.bash.sandbox.base import SandboxError
from agentsafe_envs.bash.sandbox.build import MMDEBSTRAP, PACKAGES, build_tarball, mmdebstrap_arguments
from agentsafe_envs.bash.sandbox.docker import IMAGE, SystemImage, docker_client
from agentsafe_envs.bash.sandbox.relocate import SUITE

DAEMON_PACKAGES = ("bubblewrap", "python3", "strace")
BASE_IMAGE = f"debian:{SUITE}-slim"
BUILD_TIMEOUT_S = 1800


REQUESTED = "agentsafe.requested"
"""Label of the image: suite and packages that it was built of."""

REQUESTED_PACKAGES = " ".join((SUITE, *PACKAGES, *DAEMON_PACKAGES))


def image_is_current(name: str = IMAGE) -> bool:
    """Whether Docker has an image of these packages under ``name``.

    Raises:
        SandboxError: Docker does not answer.
    """
    with contextlib.closing(docker_client()) as client:
        labels = [each.get("Labels") or {} for each in client.images(name)]
    return any(each.get(REQUESTED) == REQUESTED_PACKAGES for each in labels)


def build_image(name: str = IMAGE) -> SystemImage:
    """Build the image and give it ``name``, in place of one that has it.

    Args:
        name: With or without a tag.

    Raises:
        SandboxError: Docker does not answer, or the packages cannot be had; the message says more.
    """
    with contextlib.closing(docker_client()) as client:
        client.timeout = BUILD_TIMEOUT_S
        if shutil.which(MMDEBSTRAP):
            _import(client, name)
        else:
            build_with(client, name)
        return SystemImage(client.inspect_image(name)["Id"], {})


def dockerfile() -> str:
    """What Docker builds the image from, where there is no mmdebstrap."""
    arguments = shlex.join(mmdebstrap_arguments(PACKAGES, "/system.tar"))
    programs = " ".join((*DAEMON_PACKAGES, MMDEBSTRAP))
    return (
        f'FROM {BASE_IMAGE}\nLABEL {REQUESTED}="{REQUESTED_PACKAGES}"\n'
        f"RUN apt-get update && apt-get install --yes --no-install-recommends {programs}\n"
        "COPY relocate.py /\n"
        f"RUN SOURCE_DATE_EPOCH={CLOCK_S} {MMDEBSTRAP} {arguments} "
        "&& python3 /relocate.py /system.tar | tar -x -p --numeric-owner -C / && rm /system.tar\n"
    )


def _import(client: Any, name: str) -> None:
    with tempfile.TemporaryDirectory(prefix="agentsafe-") as folder:
        system, daemon = Path(folder) / "system.tar", Path(folder) / "daemon.tar"
        build_tarball(PACKAGES, system)
        build_tarball(DAEMON_PACKAGES, daemon)
        # A tarball may simply go on: the daemon's root, and then the folder with the system.
        with tarfile.open(daemon, "a", format=tarfile.PAX_FORMAT) as target:
            relocate.relocate(system, target)
        repository, _, tag = name.partition(":")
        label = f'LABEL {REQUESTED}="{REQUESTED_PACKAGES}"'
        said = client.import_image_from_file(str(daemon), repository=repository, tag=tag or "latest", changes=[label])
    _require_well([line for line in said.splitlines() if '"error"' in line])


def build_with(client: Any, name: str) -> None:
    """Let Docker build the image ``name`` from its Dockerfile.

    Raises:
        SandboxError: It did not, in Docker's words.
    """
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        archive.add(Path(__file__).with_name("relocate.py"), "relocate.py")
        content = dockerfile().encode()
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    context.seek(0)
    lines = client.build(fileobj=context, custom_context=True, tag=name, rm=True, decode=True)
    _require_well([line["error"] for line in lines if "error" in line])


def _require_well(errors: list[str]) -> None:
    if errors:
        raise SandboxError(f"Docker did not make the image: {errors[-1].strip()}")
