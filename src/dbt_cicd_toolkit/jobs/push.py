"""Push a release: its branch and its tag, both or none."""

from __future__ import annotations

import re

from dbt_cicd_toolkit.errors import InvalidInput, Refused
from dbt_cicd_toolkit.git import Git
from dbt_cicd_toolkit.jobs import state
from dbt_cicd_toolkit.jobs.number import Number
from dbt_cicd_toolkit.jobs.project import Project
from dbt_cicd_toolkit.jobs.release import refuse_other_branch
from dbt_cicd_toolkit.jobs.state import Line


def push(project: Project, remote: str | None = None, *, dry_run: bool = False) -> dict[str, str]:
    """Push the branch and the tag of its last release: both, or none. Returns what was pushed and where."""
    git = project.git
    line = state.line(project)
    refuse_other_branch(line)
    tag_name = line.version.tag
    at = git.tags().get(tag_name)
    if at is None:
        raise Refused(f"there is no tag {tag_name}. `dbt-cicd job release`, or `release tag` after a merge, makes it.")
    if not git.is_ancestor(at, "HEAD"):
        raise Refused(f"{tag_name} is not on {line.branch}. `git switch` to its branch, then run this again.")
    where = remote or _remote(git, line.branch)
    if where.startswith("-"):
        raise InvalidInput(f"'{where}' is no remote. There are: {', '.join(git.text('remote').split()) or 'none'}.")
    refs = (f"refs/heads/{line.branch}", f"refs/tags/{tag_name}")
    options = ("--dry-run",) if dry_run else ()
    done = git.run("push", "--atomic", "--porcelain", *options, "--", where, *(f"{ref}:{ref}" for ref in refs))
    if done.returncode:
        _refuse_other_tag(git, where, line.version)
    where = _without_password(where)
    if done.returncode:
        said = _without_password((done.stderr + done.stdout).decode("utf-8", "replace").strip())
        raise Refused(
            f"{where} took neither {line.branch} nor {tag_name}.{_advice(said, git, line, tag_name, at)}\n{said}"
        )
    return {"remote": where, "branch": line.branch, "tag": tag_name, "commit": at}


def _refuse_other_tag(git: Git, where: str, number: Number) -> None:
    """Raises Refused when a remote has the tag of a release already, and not ours."""
    there, here = git.remote_tag(where, number.tag), git.tag(number.tag)
    if there is None or there == here:
        return
    where = _without_password(where)
    said = f"{where} has a tag {number.tag} already"
    if there.commit == here.commit:
        raise Refused(
            f"{said}: another one, at the same commit {here.commit[:12]}. Nothing was pushed. Take it over, then run "
            f"this again: git fetch {where} +refs/tags/{number.tag}:refs/tags/{number.tag}"
        )
    said = f"{said}: at {there.commit[:12]} there, at {here.commit[:12]} here. Nothing was pushed."
    if git.commit("HEAD") != here.commit:
        raise Refused(f"{said} Look whose it is: git fetch {where} refs/tags/{number.tag} && git show FETCH_HEAD")
    raise Refused(
        f"{said} That number is taken: take this release back (git tag -d {number.tag} && git reset --keep HEAD~1), "
        f"give what is open another number (dbt-cicd job new-version NAME --bump {number.bump('patch')}) and commit, "
        f"`git pull`, then release again."
    )


def _without_password(text: str) -> str:
    """URLs without their user and password."""
    return re.sub(r"(?<=://)[^/\s@]*@", "", text)


def _advice(said: str, git: Git, line: Line, tag_name: str, at: str) -> str:
    if ("rejected" in said and "fetch first" in said) or "non-fast-forward" in said:
        if git.commit("HEAD") == at:
            return (
                f" It has commits that are not here: take the release back (git tag -d {tag_name} && git reset --keep "
                f"HEAD~1), `git pull --ff-only`, then release again."
            )
        return " It has commits that are not here: `git fetch`, and look."
    return " Put right what git said, then run this again."


def _remote(git: Git, branch: str) -> str:
    found = git.run("config", f"branch.{branch}.remote").stdout.decode("utf-8").strip()
    remotes = git.text("remote").split()
    if found and found != ".":
        return found
    if "origin" in remotes:
        return "origin"
    if len(remotes) == 1:
        return remotes[0]
    known = f"There are: {', '.join(remotes)}." if remotes else "There is none: `git remote add origin URL`."
    raise InvalidInput(f"which remote? Name it with --remote. {known}")
