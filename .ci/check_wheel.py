"""Build the sdist and the wheel, look into both, and try what `twistd` makes of each install.

Why so carefully: an `__init__.py` under `twisted/` in the wheel would overwrite Twisted's own, and an
uninstall would then break every `twistd`; and an editable install through an import hook would hide the
plugin, because Twisted looks for plugins in the directories of `sys.path` only.
"""

import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = "twisted/plugins/socks5_plugin.py"
SDIST_HOLDS = ["README.rst", "LICENSE", "NEWS.rst", "pyproject.toml", "noxfile.py", PLUGIN]
SDIST_HOLDS += ["tests/test_layers.py", "docs/conf.py", ".ci/run"]
SDIST_HOLDS += [f"packaging/systemd/socks5.{kind}" for kind in ("service", "socket", "toml")]


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command that must succeed, and return what it printed."""
    print("$", *command, flush=True)
    done = subprocess.run(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\nexit status {done.returncode}")
    return done.stdout


def expect(fact: bool, sentence: str) -> None:
    """Stop with the sentence unless the fact holds."""
    if not fact:
        sys.exit(f"check_wheel: {sentence}")


def check_sdist(sdist: Path) -> None:
    """The sdist is enough to test, document and build from."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    missing = [name for name in SDIST_HOLDS if name not in names]
    expect(not missing, f"{sdist.name} lacks {missing}")


def check_wheel(wheel: Path) -> None:
    """The wheel holds socks5/**, the plugin, its own metadata and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    print(*names, sep="\n")
    package = {f"socks5/{each.relative_to(ROOT / 'socks5')}" for each in source_files()}
    expect(
        set(names) == package | {PLUGIN},
        f"unexpected or missing: {set(names) ^ package ^ {PLUGIN}}",
    )


def source_files() -> list[Path]:
    """Every file of the package in the work tree."""
    everything = (ROOT / "socks5").rglob("*")
    return [each for each in everything if each.is_file() and "__pycache__" not in each.parts]


def check_twistd(python: Path, cwd: Path, *, listed: bool) -> None:
    """``twistd --help`` works from another directory, and lists the service or does not."""
    twistd = python.with_name("twistd")
    help_lines = run(twistd, "--help", cwd=cwd).splitlines()
    commands = {line.split()[0] for line in help_lines if line.strip()}
    expect("web" in commands, "`twistd --help` has lost Twisted's own services")
    expect(
        ("socks5" in commands) == listed,
        f"`twistd --help` {'lacks' if listed else 'still has'} socks5",
    )
    if listed:
        run(twistd, "socks5", "--help", cwd=cwd)
        run(python, "-m", "socks5", "--help", cwd=cwd)
        run(python.with_name("socks5"), "schema", cwd=cwd)
        code = "from twisted.internet import endpoints, reactor; endpoints.clientFromString(reactor, 'socks5:a:1')"
        run(python, "-c", code, cwd=cwd)


def main() -> None:
    """Build, look, install, try, uninstall, try again; then the same for an editable install."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        run(sys.executable, "-m", "build", "--outdir", scratch / "dist", ROOT, cwd=scratch)
        [sdist], [wheel] = (list((scratch / "dist").glob(each)) for each in ("*.tar.gz", "*.whl"))
        check_sdist(sdist)
        check_wheel(wheel)
        venv.create(scratch / "venv", with_pip=True)
        python = scratch / "venv/bin/python"
        for arguments in ([wheel], ["-e", ROOT]):
            run(python, "-m", "pip", "install", *arguments, cwd=scratch)
            check_twistd(python, scratch, listed=True)
            run(python, "-m", "pip", "uninstall", "-y", "txsocks5", cwd=scratch)
            check_twistd(python, scratch, listed=False)
    print("The wheel, the sdist and both kinds of install are as they should be.")


if __name__ == "__main__":
    main()
