"""Containerfiles as plans: stages, variables, and every instruction of the reference."""

from __future__ import annotations

from typing import Any

import pytest

from rondel.engine.images.containerfile import (
    BindUse,
    CacheUse,
    ContainerfileError,
    CopyStep,
    FetchStep,
    InlineFile,
    RunStep,
    SecretUse,
    StagePlan,
    TmpfsUse,
    WorkdirStep,
    outline,
    plan_stage,
)
from rondel.engine.images.containerfile.steps import ContextSource, ImageSource, StageSource
from rondel.engine.images.model import ImageConfig
from rondel.engine.images.platforms import parse as platform

AMD64 = platform("linux/amd64")
BASE = ImageConfig(platform=AMD64, env=("PATH=/bin", "FROM_BASE=b"), cmd=("base-cmd",), entrypoint=())


def plan(text: str, *, base: ImageConfig = BASE, target: str = "", **args: str) -> StagePlan:
    """The target stage's plan, each stage over the one it stands on."""
    file = outline(text, file="Containerfile", target=target, build_args=args, platform=AMD64)
    done: dict[int, StagePlan] = {}
    for stage in file.needed:
        under = done.get(stage.base.index) if isinstance(stage.base, StageSource) else None
        config = under.config if under else base
        done[stage.index] = plan_stage(file, stage, config, under.args if under else None)
    return done[file.target]


def run(text: str, **more: Any) -> RunStep:
    (step,) = [step for step in plan(text, **more).steps if isinstance(step, RunStep)]
    return step


def copy(text: str, **more: Any) -> CopyStep:
    (step,) = [step for step in plan(text, **more).steps if isinstance(step, CopyStep)]
    return step


def env_of(text: str, **args: str) -> dict[str, str]:
    return dict(run(text + "\nRUN x\n", **args).env)


def fault(text: str, **more: Any) -> str:
    with pytest.raises(ContainerfileError) as caught:
        plan(text, **more)
    return str(caught.value)


# --- stages


def test_only_the_stages_that_a_target_needs_are_planned() -> None:
    text = "FROM a AS one\nFROM one AS two\nFROM b AS three\nCOPY --from=one /x /y\nRUN --mount=from=c true\n"
    assert [stage.name for stage in outline(text, platform=AMD64).needed] == ["one", "three"]
    assert [s.name for s in outline(text, platform=AMD64, target="TWO").needed] == ["one", "two"]
    assert outline(text, platform=AMD64, target="one").images == {("a", "")}


def test_a_stage_may_be_named_by_its_number() -> None:
    file = outline("FROM a\nFROM b\nCOPY --from=0 /x /y", platform=AMD64)
    assert [stage.index for stage in file.needed] == [0, 1]
    assert outline("FROM a\nFROM b", platform=AMD64, target="0").target == 0


def test_scratch_and_platform_and_global_arguments_of_from() -> None:
    file = outline(
        "ARG V=1\nARG W=${V}-slim\nFROM --platform=$BUILDPLATFORM python:${W} AS x\nFROM scratch\nCOPY --from=x / /",
        platform=platform("linux/arm64"), build_platform=AMD64, build_args={"V": "3"},
    )  # fmt: skip
    assert file.images == {("python:3-slim", "linux/amd64")}
    assert file.stages[1].base is None


def test_an_unknown_target_is_named_with_the_nearest() -> None:
    with pytest.raises(ContainerfileError, match='target stage "tow" could not be found') as caught:
        outline("FROM a AS two", platform=AMD64, target="tow")
    assert "did you mean 'two'?" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file has no instructions"),
        ("ARG A=1", "the file has no FROM"),
        ("RUN x\nFROM a", "Containerfile:1: no build stage in current context"),
        ("FROM a\n\nFRUM b", "Containerfile:3: unknown instruction: FRUM"),
        ("FROM a b c d", "FROM requires either one or three arguments"),
        ("FROM a AS 1x", "invalid name for build stage"),
        ("FROM ${X}", "should not be blank"),
        ("FROM a\nONBUILD RUN x", "Containerfile:2: ONBUILD is not served"),
        ("FROM a\nCOPY --from=3 a b", "invalid stage index 3"),
        ("FROM a\nCOPY --from=$X a b", "variable expansion is not supported for from"),
        ("FROM a\nRUN <<EOF\nx", "unterminated heredoc"),
        ("FROM a\nENV A", "ENV must have two arguments"),
        ("FROM a\nCOPY --chwon=a b c", "did you mean 'chown'?"),
        ("FROM a\nCOPY a", "COPY requires at least two arguments"),
        ("FROM a\nCOPY a b c", "the destination must be a directory and end with a /"),
        ("FROM a\nCOPY --chmod=9 a b", "invalid chmod parameter"),
        ("FROM a\nRUN --mount=type=ssh x", "RUN --mount=type=ssh is not served"),
        ("FROM a\nRUN --mount=type=cach,target=/x x", "did you mean 'cache'?"),
        ("FROM a\nRUN --mount=type=cache,targt=/x x", "did you mean 'target'?"),
        ("FROM a\nRUN --mount=type=cache x", "a cache mount needs a target"),
        ("FROM a\nRUN --mount=type=cache,target=/x,sharing=odd x", "unsupported sharing"),
        ("FROM a\nRUN --network=odd x", "mode 'odd' is not known"),
        ("FROM a\nRUN --security=insecure x", "not served"),
        ("FROM a\nRUN", "RUN requires a command"),
        ("FROM a\nSHELL bash", "SHELL requires the arguments to be in JSON form"),
        ("FROM a\nEXPOSE x", "invalid port 'x'"),
        ("FROM a\nEXPOSE 70000", "invalid port range"),
        ("FROM a\nSTOPSIGNAL a b", "invalid signal"),
        ("FROM a\nHEALTHCHECK x", "unknown type 'X' in HEALTHCHECK"),
        ("FROM a\nHEALTHCHECK --interval=5 CMD x", "invalid duration '5'"),
        ("FROM a\nHEALTHCHECK --retries=0 CMD x", "--retries must be at least 1"),
        ("FROM a\nADD https://x/y.git /z", "ADD of a git repository is not served"),
        ("FROM a\nADD --checksum=md5:1 https://x/y /z", "invalid checksum"),
        ("FROM a\nARG", "ARG requires at least one argument"),
        ("FROM a\nENV A=${X?unset}", "X: unset"),
        ("FROM a\nUSER $NOBODY", "comes to nothing"),
    ],
)
def test_mistakes_are_told_with_their_place(text: str, words: str) -> None:
    message = fault(text)
    assert words in message
    assert message.startswith("Containerfile")


def test_a_base_with_triggers_is_refused() -> None:
    assert "ONBUILD triggers" in fault("FROM a", base=ImageConfig(on_build=("RUN x",)))


# --- variables


def test_arguments_have_scopes() -> None:
    text = "ARG A=global\nARG B=only-global\nFROM a\nARG A\nARG C=stage"
    assert env_of(text) == {"PATH": "/bin", "FROM_BASE": "b", "A": "global", "C": "stage"}
    assert env_of(text, A="given", C="given too")["A"] == "given"
    assert env_of("ARG A=g\nFROM a\nARG A=s")["A"] == "s"
    assert "A" not in env_of("FROM a\nARG A")


def test_a_stage_inherits_the_arguments_of_the_stage_it_stands_on() -> None:
    assert env_of("FROM a AS one\nARG A=1\nFROM one")["A"] == "1"
    assert "A" not in env_of("FROM a AS one\nARG A=1\nFROM a")


def test_a_variable_wins_over_an_argument() -> None:
    assert env_of("FROM a\nARG A=arg\nENV A=env", A="given")["A"] == "env"
    assert env_of("FROM a\nARG V\nENV W=${V:-v1.0.0}")["W"] == "v1.0.0"
    assert env_of("FROM a\nARG V\nENV W=${V:-v1.0.0}", V="v2")["W"] == "v2"


def test_arguments_never_become_part_of_the_image() -> None:
    assert plan("FROM a\nARG A=1\nENV B=$A").config.env == ("PATH=/bin", "FROM_BASE=b", "B=1")


def test_one_env_line_sees_only_what_was_before_it() -> None:
    env = env_of("FROM a\nENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc")
    assert (env["abc"], env["def"], env["ghi"]) == ("bye", "hello", "bye")


def test_forms_of_env() -> None:
    env = env_of(
        'FROM a\nENV A="a  b" B=c\\ d C=\'$A\' D="it\'s"\nENV OLD some  text "x"\nENV E=\\$A F="$FROM_BASE"'
    )
    assert env["A"] == "a  b"
    assert env["B"] == "c d"
    assert env["C"] == "$A"
    assert env["D"] == "it's"
    assert env["OLD"] == "some  text x"
    assert env["E"] == "$A"
    assert env["F"] == "b"


def test_platform_arguments_have_to_be_asked_for() -> None:
    assert "TARGETARCH" not in env_of("FROM a")
    assert env_of("FROM a\nARG TARGETARCH\nARG TARGETPLATFORM")["TARGETPLATFORM"] == "linux/amd64"


def test_proxies_reach_commands_without_being_part_of_their_identity() -> None:
    step = run("FROM a\nRUN x", https_proxy="http://p:1")
    assert dict(step.hidden_env) == {"https_proxy": "http://p:1"}
    assert "https_proxy" not in dict(step.env)


def test_a_default_may_name_an_argument_of_the_same_line() -> None:
    assert env_of("FROM a\nARG A=1 B=${A}2")["B"] == "12"


def test_path_is_there_when_the_base_has_none() -> None:
    assert dict(run("FROM a\nRUN x", base=ImageConfig()).env)["PATH"].startswith("/usr/local/sbin:")


# --- commands


def test_forms_of_run() -> None:
    assert run("FROM a\nRUN echo $A && \\\n  # comment\n  true").args == (
        "/bin/sh",
        "-c",
        "echo $A &&   true",
    )
    assert run('FROM a\nRUN ["a", "b c"]').args == ("a", "b c")
    assert run('FROM a\nSHELL ["/bin/bash", "-ec"]\nRUN x').args == ("/bin/bash", "-ec", "x")


def test_a_heredoc_is_the_command() -> None:
    assert run("FROM a\nRUN <<EOF\none\n  two $X\nEOF").args == ("/bin/sh", "-c", "one\n  two $X\n")
    assert run("FROM a\nRUN <<-'E'\n\tone\n\tE\n").args[2] == "one\n"


def test_a_heredoc_with_an_interpreter_is_a_file() -> None:
    step = run("FROM a\nRUN <<EOF\n#!/usr/bin/env python3\nprint(1)\nEOF")
    assert step.args == ("/run/containerfile/EOF",)
    assert step.script == InlineFile("EOF", "#!/usr/bin/env python3\nprint(1)\n")


def test_a_heredoc_for_a_program_is_left_to_the_shell() -> None:
    step = run("FROM a\nRUN python3 <<EOF > /out\nprint(1)\nEOF\n")
    assert step.args[2] == "python3 <<EOF > /out\nprint(1)\nEOF"


def test_mounts_of_run() -> None:
    uses = run(
        "FROM a AS s\nFROM a\nWORKDIR /w\nARG D=dir\n"
        "RUN --mount=type=cache,target=/c --mount=type=cache,id=i,target=rel,sharing=locked,uid=5,mode=700 "
        "--mount=type=secret,id=tok --mount=type=secret,id=t2,env=TOK,required "
        "--mount=type=secret,target=/k/name,mode=0444 --mount=target=/ctx,source=$D "
        "--mount=type=bind,from=s,source=/x,dst=/s,rw --mount=type=bind,from=img:1,target=/i "
        "--mount=type=tmpfs,target=/t,size=10m x"
    ).uses
    assert uses == (
        CacheUse(target="/c", id="/c"),
        CacheUse(target="/w/rel", id="i", sharing="LOCKED", uid=5, mode=0o700),
        SecretUse(id="tok", target="/run/secrets/tok"),
        SecretUse(id="t2", target=None, env="TOK", required=True),
        SecretUse(id="name", target="/k/name", mode=0o444),
        BindUse(target="/ctx", source=ContextSource(), subpath="/dir"),
        BindUse(target="/s", source=StageSource(0), subpath="/x", writable=True),
        BindUse(target="/i", source=ImageSource("img:1")),
        TmpfsUse(target="/t", size=10 << 20),
    )


def test_workdir_is_relative_to_the_one_before_and_made() -> None:
    steps = plan("FROM a\nWORKDIR /a\nUSER u\nWORKDIR b/../c\nWORKDIR $FROM_BASE\nRUN x").steps
    assert [(s.path, s.user) for s in steps if isinstance(s, WorkdirStep)] == [
        ("/a", ""), ("/a/c", "u"), ("/a/c/b", "u"),
    ]  # fmt: skip
    assert isinstance(steps[-1], RunStep)
    assert (steps[-1].workdir, steps[-1].user) == ("/a/c/b", "u")


# --- copying


def test_forms_of_copy() -> None:
    step = copy(
        "FROM a AS one\nFROM a\nWORKDIR /w\nENV X=y\n"
        "COPY --from=one --chown=u:g --chmod=0640 --exclude=*.md --exclude=b --parents --link a $X/ d/"
    )
    assert step == CopyStep(
        line=5, text=step.text, sources=("a", "y/"), destination="/w/d", origin=StageSource(0),
        into_directory=True, chown="u:g", chmod="0640", parents=True, exclude=("*.md", "b"), link=True,
    )  # fmt: skip
    assert copy('FROM a\nCOPY ["a b", "/x y"]').sources == ("a b",)
    assert copy("FROM a\nCOPY --from=img:2 a /b").origin == ImageSource("img:2")
    assert copy("FROM a\nCOPY a .").into_directory
    assert not copy("FROM a\nCOPY a b").into_directory
    assert copy("FROM a\nCOPY --chmod=u=rwX,go=rX a b").chmod == "u=rwX,go=rX"


def test_documents_are_copied_as_files() -> None:
    step = copy("FROM a\nENV X=1\nCOPY <<a.txt <<'b.txt' /d/\nx=$X \"q\"\na.txt\ny=$X\nb.txt\n")
    assert step.files == (InlineFile("a.txt", 'x=1 "q"\n'), InlineFile("b.txt", "y=$X\n"))
    assert copy("FROM a\nCOPY <<-EOF /f\n\tx\n\tEOF\n").files == (InlineFile("EOF", "x\n"),)


def test_forms_of_add() -> None:
    digest = "sha256:" + "a" * 64
    steps = plan(
        f"FROM a\nADD x.tar.gz /d/\nADD --checksum={digest} --chmod=755 https://h/f?x=1 /bin/\n"
    ).steps
    assert isinstance(steps[0], CopyStep)
    assert steps[0].unpack
    assert isinstance(steps[1], FetchStep)
    assert (steps[1].url, steps[1].destination, steps[1].into_directory) == ("https://h/f?x=1", "/bin", True)
    assert (steps[1].checksum, steps[1].chmod, steps[1].unpack) == (digest, "755", False)
    assert not copy("FROM a\nADD --unpack=false a.tar /d/").unpack


# --- metadata


def test_metadata_instructions() -> None:
    config = plan(
        'FROM a\nLABEL a=1 "b c"="two words" d=$FROM_BASE\nUSER me:us\nEXPOSE 80 53/udp 8000-8001/TCP\n'
        'VOLUME /v $FROM_BASE\nVOLUME ["/j k"]\nSTOPSIGNAL SIGINT\nMAINTAINER "Some One"\n'
        "HEALTHCHECK --interval=1m30s --timeout=500ms --retries=4 CMD curl x\n"
    ).config
    assert config.labels == {"a": "1", "b c": "two words", "d": "b"}
    assert config.user == "me:us"
    assert config.exposed_ports == ("53/udp", "80/tcp", "8000/tcp", "8001/tcp")
    assert config.volumes == ("/j k", "/v", "b")
    assert config.stop_signal == "SIGINT"
    assert config.rest["author"] == "Some One"
    assert config.healthcheck == {
        "Test": ["CMD-SHELL", "curl x"], "Interval": 90 * 10**9, "Timeout": 5 * 10**8, "Retries": 4,
    }  # fmt: skip
    assert plan('FROM a\nHEALTHCHECK CMD ["a", "b"]').config.healthcheck == {"Test": ["CMD", "a", "b"]}
    assert plan("FROM a\nHEALTHCHECK NONE").config.healthcheck == {"Test": ["NONE"]}


def test_entrypoint_takes_the_base_command_away_but_not_its_own() -> None:
    assert plan('FROM a\nENTRYPOINT ["e"]').config.cmd == ()
    assert plan('FROM a\nCMD ["c"]\nENTRYPOINT ["e"]').config.cmd == ("c",)
    assert plan("FROM a").config.cmd == ("base-cmd",)
    config = plan("FROM a\nENTRYPOINT echo ep\nCMD echo cmd").config
    assert config.entrypoint == ("/bin/sh", "-c", "echo ep")
    assert config.cmd == ("/bin/sh", "-c", "echo cmd")


def test_the_escape_directive_and_comments_are_read() -> None:
    assert run("# escape=`\nFROM a\n# c\nRUN a `\n  b").args[2] == "a   b"
