"""What every sandbox adds to its system, so that the programs an operator tries first work or say why not.

PAM's rules let root become any user. ``sudo`` and ``crontab`` are our own: set-id programs gain no
rights in a sandbox. Programs that want a terminal get a short answer. The scripts are in ``programs/``.
"""

from __future__ import annotations

from pathlib import Path

from agentsafe_envs.bash.files.start import Entry, directory, file, symlink

WANT_TERMINAL = ("emacs", "less", "more", "nano", "tail", "top", "vi", "view", "vim", "watch")
"""Programs in front of which ``no-terminal`` stands, in every search path."""

_PROGRAMS = Path(__file__).with_name("programs")
_NO_TERMINAL = "/usr/local/lib/no-terminal"
_PAM = """auth sufficient pam_rootok.so
auth required pam_unix.so
account required pam_permit.so
session required pam_permit.so
password required pam_unix.so
"""


def added_entries() -> tuple[Entry, ...]:
    """Files beside those of the system; a world's own replace them."""
    return (
        directory("/etc/pam.d"),
        file("/etc/pam.d/other", _PAM),
        directory("/var/spool/cron"),
        directory("/var/spool/cron/crontabs", 0o700),
        *(file(f"/usr/local/bin/{name}", (_PROGRAMS / name).read_bytes(), 0o755) for name in ("crontab", "sudo")),
        file(_NO_TERMINAL, (_PROGRAMS / "no-terminal").read_bytes(), 0o755),
        *(symlink(f"/usr/local/bin/{name}", _NO_TERMINAL) for name in WANT_TERMINAL),
    )
