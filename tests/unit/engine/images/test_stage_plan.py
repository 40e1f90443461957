"""Containerfiles as plans: stages, variables, and every instruction of the reference."""

from __future__ import annotations

from typing import Any

import pytest

from rondel.containerfile import (
    BindUse,
    CacheUse,
    ContainerfileError,
    ContextSource,
    CopyStep,
    FetchStep,
    GitStep,
    ImageSource,
    InlineFile,
    RunStep,
    SecretUse,
    SshUse,
    StageSource,
    TmpfsUse,
    WorkdirStep,
    outline,
)
from rondel.engine.images.model import ImageConfig
from rondel.engine.images.platforms import parse as platform
from rondel.engine.images.stage_plan import StagePlan, plan_stage

AMD64 = "linux/amd64"
BASE = ImageConfig(
    platform=platform(AMD64), env=("PATH=/bin", "FROM_BASE=b"), cmd=("base-cmd",), entrypoint=()
)


def plan(text: str, *, base: ImageConfig = BASE, target: str = "", **args: str) -> StagePlan:
    """The target stage's plan, each stage over the one it stands on."""
    file = outline(text, file="Containerfile", target=target, build_args=args, platform=AMD64)
    done: dict[int, StagePlan] = {}
    for stage in file.needed:
        under = done.get(stage.base.index) if isinstance(stage.base, StageSource) else None
        config = under.config if under else base
        done[stage.index] = plan_stage(file, stage, config, under.scope if under else None)
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
        platform="linux/arm64", build_platform=AMD64, build_args={"V": "3"},
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
        ("", "the Dockerfile cannot be empty"),
        ("# only this", "file with no instructions"),
        ("ARG A=1", "dockerfile contains no stages to build"),
        ("# syntax=example.com/own:1\nFROM a", 'syntax frontend "example.com/own:1" is unsupported'),
        ("RUN x\nFROM a", "Containerfile:1: no build stage in current context"),
        ("FROM a\n\nFRUM b", "Containerfile:3: unknown instruction: FRUM"),
        ("FROM a b c d", "FROM requires either one or three arguments"),
        ("FROM a AS 1x", "invalid name for build stage"),
        ("FROM ${X}", "should not be blank"),
        ("FROM --platform=$X a", "empty platform value from expression $X"),
        ("FROM a\nONBUILD", "ONBUILD requires at least one argument"),
        ("FROM a\nONBUILD RUN <<E\nls\nE", "Containerfile:2: a heredoc in ONBUILD is not served"),
        ("FROM a\nONBUILD onbuild RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("FROM a\nONBUILD from b", "FROM isn't allowed as an ONBUILD trigger"),
        ("FROM a AS x\nCOPY --from=x a b", "circular dependency detected on stage: x"),
        (
            "FROM a\nCOPY --from=later a b\nFROM c AS later\nCOPY --from=0 a b",
            'Containerfile:2: cannot copy from stage "later", it needs to be defined before current stage',
        ),
        ("FROM a\nCOPY --from=3 a b", "invalid stage index 3"),
        ("FROM a\nCOPY --from=$X a b", "'from' doesn't support variable expansion"),
        ("FROM a\nRUN <<EOF\nx", "unterminated heredoc"),
        ("FROM a\nENV A", "ENV must have two arguments"),
        ("FROM a\nCOPY --chwon=a b c", "did you mean chown?"),
        ("FROM a\nCOPY a", "COPY requires at least two arguments"),
        ("FROM a\nCOPY http://x/y z", "source can't be a URL for COPY"),
        ("FROM a\nCOPY https://x/y.git z", "source can't be a git ref for COPY"),
        ("FROM a\nADD https://x/y.git?branch=a&tag=b /z", "names one reference"),
        ("FROM a\nADD https://x/y.git?bransh=a /z", 'unexpected query "bransh"'),
        ("FROM a\nADD --checksum=xyz https://x/y.git /z", "a commit's hash is expected"),
        ("FROM a\nCOPY --chmod=9 a b", "invalid chmod parameter"),
        ("FROM a\nRUN --mount=type=secret,id=a,source=b x", "both source and id can't be set"),
        ("FROM a\nRUN --mount=type=cach,target=/x x", "did you mean cache?"),
        ("FROM a\nRUN --mount=type=cache,targt=/x x", "did you mean target?"),
        ("FROM a\nRUN --mount=type=cache x", "invalid mount target"),
        ("FROM a\nRUN --mount=type=cache,target=/x,sharing=odd x", "unsupported sharing"),
        ("FROM a\nRUN --network=odd x", 'invalid network mode "odd"'),
        ("FROM a\nRUN --security=insecure x", "not served"),
        ("FROM a\nRUN", "RUN requires a command"),
        ("FROM a\nSHELL bash", "SHELL requires the arguments to be in JSON form"),
        ("FROM a\nEXPOSE x", "invalid containerPort: x"),
        ("FROM a\nEXPOSE 70000", "invalid containerPort: 70000"),
        ("FROM a\nEXPOSE 80/ftp", "invalid proto: ftp"),
        ("FROM a\nSTOPSIGNAL a b", "invalid signal: a b"),
        ("FROM a\nSTOPSIGNAL SIGNONE", "invalid signal: SIGNONE"),
        ("FROM a\nSTOPSIGNAL 0", "invalid signal: 0"),
        ("FROM a\nHEALTHCHECK x", 'Unknown type "X" in HEALTHCHECK (try CMD)'),
        ("FROM a\nHEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        ("FROM a\nHEALTHCHECK --interval=5 CMD x", "missing unit in duration"),
        ("FROM a\nHEALTHCHECK --retries=-1 CMD x", "--retries cannot be negative"),
        ("FROM a\nADD --checksum=md5:1 https://x/y /z", "invalid checksum"),
        ("FROM a\nARG", "ARG requires at least one argument"),
        ("FROM a\nENV A=${X?unset}", "X: unset"),
        ("FROM a\nWORKDIR $NOWHERE", "expands to nothing"),
    ],
)
def test_mistakes_are_told_with_their_place(text: str, words: str) -> None:
    message = fault(text)
    assert words in message
    assert message.startswith("Containerfile")


def test_triggers_are_kept_and_come_first_in_a_file_that_stands_on_them() -> None:
    made = plan("FROM a\nENV A=1\nONBUILD RUN echo $A  two\nonbuild COPY --chown=1 \\\n  a b\n").config
    assert made.on_build == ("RUN echo $A  two", "COPY --chown=1   a b")
    child = plan("FROM a\nRUN last\n", base=made)
    first, second, third = child.steps
    assert isinstance(first, RunStep)
    assert (first.args[-1], first.line) == ("echo $A  two", 1)
    assert isinstance(second, CopyStep)
    assert isinstance(third, RunStep)
    assert child.config.on_build == ()


def test_triggers_of_a_stage_run_in_the_stage_that_stands_on_it() -> None:
    config = plan("FROM a AS one\nONBUILD ENV FROM_TRIGGER=1\nFROM one\nRUN x\n").config
    assert "FROM_TRIGGER=1" in config.env


def test_a_trigger_that_cannot_be_done_is_told_where_the_base_is_named() -> None:
    def told(trigger: str, text: str = "FROM a AS s\nFROM b") -> str:
        return fault(text, base=ImageConfig(on_build=(trigger,)))

    assert (
        told("FRUM x")
        == "Containerfile:2: the base image's trigger ONBUILD FRUM x: unknown instruction: FRUM (did you mean FROM?)"
    )
    assert told("FROM x") == "Containerfile:2: FROM isn't allowed as an ONBUILD trigger"
    assert "single instruction" in told("RUN a\nRUN b")
    assert told("COPY --from=s a b").startswith('Containerfile:2: cannot copy from stage "s"')


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


def test_the_last_of_a_variable_and_an_argument_wins_until_the_image_is_made() -> None:
    text = "FROM a\nENV A=env\nARG A=arg\nENV SEEN=$A"
    assert env_of(text)["A"] == "arg"
    assert plan(text).config.env == ("PATH=/bin", "FROM_BASE=b", "A=env", "SEEN=arg")
    assert env_of("FROM a AS one\nENV A=env\nARG A=arg\nFROM one")["A"] == "env"
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
    file = outline(
        "FROM --platform=$TARGETPLATFORM a", platform=AMD64, build_args={"TARGETPLATFORM": "linux/s390x"}
    )
    assert file.images == {("a", "linux/s390x")}


def test_proxies_reach_commands_without_being_part_of_their_identity() -> None:
    step = run("FROM a\nRUN x", https_proxy="http://p:1")
    # Programs read one spelling or the other.
    assert dict(step.hidden_env) == {"https_proxy": "http://p:1", "HTTPS_PROXY": "http://p:1"}
    assert "https_proxy" not in dict(step.env)
    both = run("FROM a\nRUN x", https_proxy="http://p:1", HTTPS_PROXY="http://p:2")
    assert dict(both.hidden_env) == {"https_proxy": "http://p:1", "HTTPS_PROXY": "http://p:2"}


def test_a_default_may_name_an_argument_of_the_same_line() -> None:
    assert env_of("FROM a\nARG A=1 B=${A}2")["B"] == "12"


def test_path_is_there_when_the_base_has_none() -> None:
    assert dict(run("FROM a\nRUN x", base=ImageConfig()).env)["PATH"].startswith("/usr/local/sbin:")
    assert plan("FROM scratch", base=ImageConfig()).config.env[0].startswith("PATH=/usr/local/sbin:")


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
        "--mount=type=tmpfs,target=/t,size=10m --mount=type=secret,src=a/b --mount=type=SSH "
        '--mount=type=ssh,id=k,target=agent,required --mount="type=cache,target=/q,id=a b" x'
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
        SecretUse(id="a/b", target="/run/secrets/b"),
        SshUse(id="default", target=""),
        SshUse(id="k", target="/w/agent", required=True),
        CacheUse(target="/q", id="a b"),
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


@pytest.mark.parametrize("mode", ["0", "7", "44", "0755", "00755", "1777", "+x", "u+s,g-w,o="])
def test_modes_that_copy_takes(mode: str) -> None:
    assert copy(f"FROM a\nCOPY --chmod={mode} a b").chmod == mode


@pytest.mark.parametrize("mode", ["8", "17777", "0o755", "rwx"])
def test_modes_that_copy_does_not_take(mode: str) -> None:
    with pytest.raises(ContainerfileError, match="invalid chmod parameter"):
        copy(f"FROM a\nCOPY --chmod={mode} a b")


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


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("https://h/o/r.git", ("https://h/o/r.git", "", "")),
        ("https://h/o/r.git#v1:sub/dir", ("https://h/o/r.git", "v1", "sub/dir")),
        ("https://h/o/r.git?branch=b&subdir=s", ("https://h/o/r.git", "refs/heads/b", "s")),
        ("https://h/o/r.git?tag=t", ("https://h/o/r.git", "refs/tags/t", "")),
        ("https://h/o/r.git?ref=any#:s", ("https://h/o/r.git", "any", "s")),
        ("git@h:o/r.git#b", ("git@h:o/r.git", "b", "")),
        ("ssh://git@h/o/r", ("ssh://git@h/o/r", "", "")),
        ("git://h/o/r#b", ("git://h/o/r", "b", "")),
    ],
)
def test_repositories_that_add_takes(source: str, expected: tuple[str, str, str]) -> None:
    (step,) = plan(f"FROM a\nWORKDIR /w\nADD --keep-git-dir=true {source} into").steps[1:]
    assert isinstance(step, GitStep)
    assert (step.url, step.reference, step.folder) == expected
    assert (step.destination, step.keep_git_dir) == ("/w/into", True)


def test_a_repository_may_have_to_be_a_commit() -> None:
    def commit(text: str) -> str:
        (step,) = plan(f"FROM a\n{text}").steps
        assert isinstance(step, GitStep)
        return step.commit

    assert commit("ADD --checksum=ABCDEF1234 https://h/r.git /r") == "abcdef1234"
    assert commit("ADD https://h/r.git?checksum=0123456 /r") == "0123456"


@pytest.mark.parametrize(
    "name", ["r.git", "a@b", "https://h/r.tar.gz", "dir/user@host:x", "C:x", "a@b:c:d://x"]
)
def test_what_is_no_repository_is_a_file_or_url(name: str) -> None:
    (step,) = plan(f"FROM a\nADD {name} /r/").steps
    assert isinstance(step, CopyStep | FetchStep)


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
    assert plan("FROM a\nHEALTHCHECK --retries=0 CMD x").config.healthcheck["Retries"] == 0
    assert plan("FROM a\nEXPOSE 8080:80 127.0.0.1:1:53/udp").config.exposed_ports == ("53/udp", "80/tcp")
    assert plan("FROM a\nUSER me\nUSER $NOBODY").config.user == ""
    assert plan("FROM a\nSTOPSIGNAL rtmin+3").config.stop_signal == "rtmin+3"
    assert plan("FROM a\nCMD\nENTRYPOINT []").config.cmd == ("/bin/sh", "-c", "")


def test_entrypoint_takes_the_base_command_away_but_not_its_own() -> None:
    assert plan('FROM a\nENTRYPOINT ["e"]').config.cmd == ()
    assert plan('FROM a\nCMD ["c"]\nENTRYPOINT ["e"]').config.cmd == ("c",)
    assert plan("FROM a").config.cmd == ("base-cmd",)
    config = plan("FROM a\nENTRYPOINT echo ep\nCMD echo cmd").config
    assert config.entrypoint == ("/bin/sh", "-c", "echo ep")
    assert config.cmd == ("/bin/sh", "-c", "echo cmd")


def test_the_escape_directive_and_comments_are_read() -> None:
    assert run("# escape=`\nFROM a\n# c\nRUN a `\n  b").args[2] == "a   b"
