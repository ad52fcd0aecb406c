"""``python -m agentsafe_envs`` is the ``agentsafe`` command."""

from agentsafe_envs.cli.app import app

if __name__ == "__main__":
    app(prog_name="agentsafe")
