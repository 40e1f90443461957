"""Repositories of a git daemon and of directories, through the API."""

import http.server
import threading
from functools import partial

import pytest

from .conftest import run_git

pytestmark = pytest.mark.anyio


async def test_tree_holds_modes_links_and_a_clean_git_folder(query, served, session, repository):
    data = await query(
        '{git(url:"%s"){branch(name:"main"){tree{entries file(path:"script.sh"){stat{permissions}}}}}}'
        % served
    )
    tree = data["git"]["branch"]["tree"]
    assert tree["entries"] == [".git/", "f", "link", "script.sh"]
    assert tree["file"]["stat"]["permissions"] == 0o755
    out = session.workdir / "out"
    await query('{git(url:"%s"){head{tree{export(path:"%s")}}}}' % (served, out))
    assert run_git(out, "status", "--short") == ""
    assert run_git(out, "log", "--format=%s") == "two"
    assert (out / "link").is_symlink()


async def test_depth_brings_history(query, served, session):
    out = session.workdir / "out"
    await query('{git(url:"%s"){head{tree(depth:0){export(path:"%s")}}}}' % (served, out))
    assert run_git(out, "log", "--format=%s").split() == ["two", "one"]


async def test_names_tags_and_versions(query, served):
    data = await query(
        '{git(url:"%s"){branches tags one:tags(patterns:["v1.0*"]) latestVersion{ref} ref(name:"dev"){ref}}}'
        % served
    )
    assert data["git"] == {
        "branches": ["dev", "main"],
        "tags": ["v1.0.0", "v1.1.0"],
        "one": ["v1.0.0"],
        "latestVersion": {"ref": "refs/tags/v1.1.0"},
        "ref": {"ref": "refs/heads/dev"},
    }


async def test_common_ancestor_is_where_histories_part(query, served, repository):
    ids = await query('{git(url:"%s"){dev:branch(name:"dev"){id}}}' % served)
    data = await query(
        '{git(url:"%s"){branch(name:"main"){commonAncestor(other:"%s"){commit}}}}'
        % (served, ids["git"]["dev"]["id"])
    )
    assert data["git"]["branch"]["commonAncestor"]["commit"] == run_git(
        repository, "rev-parse", "v1.0.0^{commit}"
    )


async def test_hooks_filters_and_helpers_of_a_local_repository_never_run(query, repository, tmp_path):
    trace = tmp_path / "ran"
    (repository / ".git" / "hooks").mkdir(exist_ok=True)
    for hook in ("post-checkout", "pre-auto-gc", "reference-transaction", "post-index-change"):
        path = repository / ".git" / "hooks" / hook
        path.write_text(f"#!/bin/sh\necho {hook} >> {trace}\n")
        path.chmod(0o755)
    (repository / ".gitattributes").write_text("* filter=evil\n")
    run_git(repository, "add", ".gitattributes")
    run_git(repository, "commit", "-q", "-m", "attributes", "--no-verify")
    trace.unlink(missing_ok=True)
    config = repository / ".git" / "config"
    config.write_text(
        config.read_text()
        + f'[filter "evil"]\n\tsmudge = sh -c "echo smudge >> {trace}; cat"\n\tclean = cat\n'
        + f"[core]\n\tfsmonitor = sh -c 'echo fsmonitor >> {trace}'\n"
    )
    data = await query(
        '{host{directory(path:"%s"){asGit{head{tree(discardGitDir:true){entries}} uncommitted{isEmpty}}}}}'
        % repository
    )
    assert "f" in data["host"]["directory"]["asGit"]["head"]["tree"]["entries"]
    assert not trace.exists(), trace.read_text()


async def test_uncommitted_changes_of_a_working_tree(query, repository):
    (repository / "f").write_text("changed\n")
    (repository / "new").write_text("new\n")
    (repository / ".gitignore").write_text("ignored\n")
    (repository / "ignored").write_text("x")
    (repository / "script.sh").unlink()
    data = await query(
        '{host{directory(path:"%s"){asGit{uncommitted{addedPaths modifiedPaths removedPaths}}}}}' % repository
    )
    changes = data["host"]["directory"]["asGit"]["uncommitted"]
    assert sorted(changes["addedPaths"]) == [".gitignore", "new"]
    assert changes["modifiedPaths"] == ["f"]
    assert changes["removedPaths"] == ["script.sh"]


async def test_git_folder_with_links_is_refused(query, repository, tmp_path):
    (repository / ".git" / "packed-refs").symlink_to("/etc/passwd")
    with pytest.raises(AssertionError, match="symbolic link"):
        await query('{host{directory(path:"%s"){asGit{head{commit}}}}}' % repository)


async def test_token_is_sent_to_its_host_and_shown_nowhere(query, session):
    data = await query('{setSecret(name:"t",plaintext:"tok-en-value"){id}}')
    with pytest.raises(AssertionError) as caught:
        await query(
            '{git(url:"http://127.0.0.1:9/r.git",httpAuthToken:"%s"){head{commit}}}' % data["setSecret"]["id"]
        )
    assert "git error" in str(caught.value)
    assert "tok-en-value" not in str(caught.value)


@pytest.mark.parametrize("url", ["file:///etc", "ext::sh -c 'touch /tmp/x'", "-uhelp"])
async def test_other_protocols_never_reach_git(query, url):
    with pytest.raises(AssertionError, match="failed to parse Git URL"):
        await query('{git(url:"%s"){head{commit}}}' % url)


async def test_git_folder_is_left_out_where_the_repository_is_asked_for_without(query, served):
    data = await query(
        '{a:git(url:"%s",keepGitDir:false){head{tree{entries}}} b:git(url:"%s",keepGitDir:true){head{tree{entries}}}}'
        % (served, served)
    )
    assert ".git/" not in data["a"]["head"]["tree"]["entries"]
    assert ".git/" in data["b"]["head"]["tree"]["entries"]


async def test_what_follows_the_url_is_not_for_git(query, served):
    data = await query('{git(url:"%s#dev:f"){url head{ref}}}' % served)
    assert data["git"] == {"url": f"{served}#dev:f", "head": {"ref": "refs/heads/main"}}


async def test_tags_come_along_only_when_they_are_asked_for(query, served, session, repository):
    for tags, expected in ((False, []), (True, ["v1.1.0"])):
        out = session.workdir / f"out-{tags}"
        text = '{git(url:"%s"){branch(name:"main"){tree(includeTags:%s){export(path:"%s")}}}}'
        await query(text % (served, str(tags).lower(), out))
        assert run_git(out, "tag").split() == expected


async def test_a_commit_that_is_nowhere_is_named(query, served):
    with pytest.raises(AssertionError) as caught:
        await query('{git(url:"%s"){commit(id:"%s"){tree{entries}}}}' % (served, "a" * 40))
    assert str(caught.value).splitlines()[0] == (
        f"failed to fetch remote {served}: git error: sha fetch unsupported by remote"
    )


async def test_histories_without_a_common_commit(query, served, repository):
    run_git(repository, "checkout", "-q", "--orphan", "alone")
    run_git(repository, "commit", "-q", "-m", "alone")
    text = '{host{directory(path:"%s"){asGit{branch(name:"%s"){id}}}}}'
    ids = [
        (await query(text % (repository, name)))["host"]["directory"]["asGit"]["branch"]["id"]
        for name in ("alone", "dev")
    ]
    with pytest.raises(AssertionError, match="git merge-base failed: git error: exit status 1"):
        await query('{node(id:"%s"){... on GitRef{commonAncestor(other:"%s"){commit}}}}' % tuple(ids))


async def test_a_repository_is_found_from_a_directory_in_it(query, repository):
    (repository / "sub").mkdir()
    (repository / "sub" / "s").write_text("s\n")
    run_git(repository, "add", "-A")
    run_git(repository, "commit", "-q", "-m", "sub")
    (repository / "sub" / "t").write_text("t\n")
    (repository / "f").write_text("elsewhere\n")
    data = await query(
        '{host{directory(path:"%s"){directory(path:"sub"){asGit{head{tree(discardGitDir:true){entries}}'
        " uncommitted{addedPaths modifiedPaths}}}}}}" % repository
    )
    found = data["host"]["directory"]["directory"]["asGit"]
    assert "sub/" in found["head"]["tree"]["entries"]
    assert found["uncommitted"] == {"addedPaths": ["t"], "modifiedPaths": []}


async def test_nothing_is_uncommitted_without_a_working_tree(query, served, tmp_path):
    data = await query('{host{directory(path:"%s/r.git"){asGit{uncommitted{isEmpty}}}}}' % tmp_path)
    assert data["host"]["directory"]["asGit"]["uncommitted"]["isEmpty"] is True


async def test_submodules_are_part_of_a_tree(query, served, repository, tmp_path):
    run_git(repository, "-c", "protocol.allow=always", "submodule", "-q", "add", served, "module")
    run_git(repository, "commit", "-q", "-m", "module")
    run_git(tmp_path, "clone", "-q", "--bare", "work", "with.git")
    text = '{head{tree(discardGitDir:true){entries(path:"module")}}}'
    data = await query('{git(url:"%s")%s}' % (served.replace("/r.git", "/with.git"), text))
    assert "f" in data["git"]["head"]["tree"]["entries"]
    data = await query('{host{directory(path:"%s"){asGit%s}}}' % (repository, text))
    assert "f" in data["host"]["directory"]["asGit"]["head"]["tree"]["entries"]


async def test_a_submodule_that_cannot_be_had_fails_the_tree(query, served, repository, tmp_path):
    run_git(repository, "-c", "protocol.allow=always", "submodule", "-q", "add", served, "module")
    modules = repository / ".gitmodules"
    modules.write_text(modules.read_text().replace("/r.git", "/gone.git"))
    run_git(repository, "commit", "-q", "-am", "module")
    text = "failed to checkout refs/heads/main: failed to update submodules: git error: exit status"
    with pytest.raises(AssertionError, match=text):
        await query('{host{directory(path:"%s"){asGit{head{tree{entries}}}}}}' % repository)


class Guarded(http.server.SimpleHTTPRequestHandler):
    """Files for those who say who they are."""

    def do_GET(self):
        if self.headers.get("Authorization") not in self.server.welcome:
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.end_headers()
            return
        super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def guarded(served, tmp_path):
    """The repository's URL at a web server that wants a login; who may get at it."""
    run_git(tmp_path / "r.git", "update-server-info")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Guarded, directory=tmp_path))
    server.welcome = set()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/r.git", server.welcome
    server.shutdown()
    thread.join()
    server.server_close()


async def test_who_has_no_login_is_told_so(query, guarded, home):
    with pytest.raises(AssertionError) as caught:
        await query('{git(url:"%s"){branches}}' % guarded[0])
    assert str(caught.value).splitlines()[0] == "git error: git authentication failed"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('httpAuthToken:"ID"', "Basic eC1hY2Nlc3MtdG9rZW46c2VjcmV0"),
        ('httpAuthToken:"ID",httpAuthUsername:"me"', "Basic bWU6c2VjcmV0"),
        ('httpAuthHeader:"ID"', "secret"),
    ],
)
async def test_a_login_opens_the_repository(query, guarded, arguments, expected):
    url, welcome = guarded
    welcome.add(expected)
    data = await query('{setSecret(name:"t",plaintext:"secret"){id}}')
    text = '{git(url:"%s",%s){branches head{tree(discardGitDir:true){entries}}}}'
    data = await query(text % (url, arguments.replace("ID", data["setSecret"]["id"])))
    assert data["git"]["branches"] == ["dev", "main"]
    assert "f" in data["git"]["head"]["tree"]["entries"]


@pytest.fixture
def home(tmp_path, session):
    """The user's home, without anything of whoever runs the tests."""
    folder = tmp_path / "home"
    folder.mkdir()
    own = {name: value for name, value in session.environ.items() if not name.startswith("GIT_")}
    session.environ = own | {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    return folder


@pytest.mark.parametrize("where", ["helper", "netrc"])
async def test_the_user_s_own_git_knows_a_login(query, guarded, home, where):
    url, welcome = guarded
    welcome.add("Basic bWU6c2VjcmV0")
    if where == "helper":
        (home / ".gitconfig").write_text("[credential]\n\thelper = store\n")
        (home / ".git-credentials").write_text(url.replace("http://", "http://me:secret@") + "\n")
    else:
        (home / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    data = await query('{git(url:"%s"){branches head{tree(discardGitDir:true){entries}}}}' % url)
    assert "f" in data["git"]["head"]["tree"]["entries"]


async def test_a_login_that_does_not_open_it_is_shown_nowhere(query, guarded, home):
    (home / ".netrc").write_text("machine 127.0.0.1 login me password se-cret\n")
    with pytest.raises(AssertionError, match="git authentication failed") as caught:
        await query('{git(url:"%s"){branches}}' % guarded[0])
    assert "se-cret" not in str(caught.value)


async def test_a_commit_of_a_server_that_gives_references_only(query, guarded, repository):
    url, welcome = guarded
    welcome.add(None)  # whoever asks
    sha = run_git(repository, "rev-parse", "v1.0.0^{commit}")
    text = '{git(url:"%s"){commit(id:"%s"){tree{file(path:"f"){contents} glob(pattern:".git/refs/**")}}}}'
    tree = (await query(text % (url, sha)))["git"]["commit"]["tree"]
    assert tree["file"]["contents"] == "one\n"
    assert not [name for name in tree["glob"] if "rondel" in name]
