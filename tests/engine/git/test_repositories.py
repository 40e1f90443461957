"""Repositories of a git daemon and of directories, through the API."""

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
