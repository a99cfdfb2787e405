"""Is what was released as it was released?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dbt_cicd_toolkit.errors import InvalidInput, ToolkitError
from dbt_cicd_toolkit.jobs import manifest
from dbt_cicd_toolkit.jobs.findings import Finding
from dbt_cicd_toolkit.jobs.manifest import Manifest, content_hash
from dbt_cicd_toolkit.jobs.number import Number
from dbt_cicd_toolkit.jobs.project import Project
from dbt_cicd_toolkit.jobs.trees import Tree

_SHOWN = 12


@dataclass(frozen=True)
class Release:
    """A release as it was recorded: by its tag, else by the last commit, else only on disk.

    Attributes:
        by: the tag, 'HEAD', or '' for what is not committed.
    """

    manifest: Manifest
    by: str

    @property
    def since(self) -> str:
        """'tag v0.1.0'."""
        return _since(self.by)


def releases(project: Project) -> tuple[dict[Number, Release], list[Finding]]:
    """The releases of this branch, ascending; and where manifests are missing, damaged or not what was committed."""
    here, findings = _here(project)
    there = _committed(project, here)
    findings += _moved_tags(project, here, there)
    found = {}
    for version in sorted(set(here) | {version for version, _ in there}):
        path = f"releases/{version}.json"
        content = here.get(version)
        by, recorded = next(
            ((by, there[version, by]) for by in (version.tag, "HEAD") if (version, by) in there), ("", content)
        )
        assert recorded is not None
        if content is None:
            findings.append(Finding("differs", "frozen", f"{path} is missing. {_restore(path, by)}"))
        elif content_hash(content) != content_hash(recorded):
            hashes = _hashes(content_hash(recorded), content_hash(content))
            said = f"{path} is not what {_since(by)} has: {hashes}."
            findings.append(Finding("differs", "frozen", f"{said} A manifest never changes. {_restore(path, by)}"))
        try:
            found[version] = Release(manifest.parse(recorded, path), by)
        except ToolkitError as error:
            level = "invalid" if isinstance(error, InvalidInput) else "differs"
            findings.append(Finding(level, "frozen", str(error)))  # type: ignore[arg-type]
    return found, findings


def _since(by: str) -> str:
    return {"": "its manifest", "HEAD": "the last commit"}.get(by, f"tag {by}")


def _here(project: Project) -> tuple[dict[Number, bytes], list[Finding]]:
    found, findings = {}, []
    for path in sorted(project.releases.glob("*.json")):
        try:
            found[Number.parse(path.stem, project.path(path))] = path.read_bytes()
        except InvalidInput as error:
            findings.append(Finding("invalid", "frozen", f"{error} Rename the file, or delete it."))
    return found, findings


def _committed(project: Project, here: Mapping[Number, bytes]) -> dict[tuple[Number, str], bytes]:
    """{(version, tag or 'HEAD'): manifest}. A tag counts for a version that is here, and for one that should be: that
    is in this branch's history."""
    git = project.git
    if git.commit("HEAD") is None:
        return {}
    names: dict[tuple[Number, str], str] = {}
    for path in git.files("HEAD", "releases/"):
        if (version := _version(path)) is not None:
            names[version, "HEAD"] = f"HEAD:{path}"
    merged = set(git.merged_tags("HEAD"))
    for tag in git.tags():
        version = _version(f"releases/{tag[1:]}.json") if tag.startswith("v") else None
        if version is not None and (version in here or tag in merged):
            names[version, tag] = f"refs/tags/{tag}:releases/{version}.json"
    contents = git.contents(names.values())
    return {key: contents[name] for key, name in names.items() if name in contents}


def _moved_tags(
    project: Project, here: Mapping[Number, bytes], there: Mapping[tuple[Number, str], bytes]
) -> list[Finding]:
    """A tag without the manifest of its release; and where a tag is missing, a manifest that was committed anew."""
    tags = project.git.tags()
    findings = [
        Finding("differs", "frozen", f"tag {each.tag} has no releases/{each}.json: it was moved. Fetch the right one.")
        for each in here
        if each.tag in tags and (each, each.tag) not in there
    ]
    untagged = {f"releases/{each}.json": each for each in here if each.tag not in tags and (each, "HEAD") in there}
    if not untagged:
        return findings
    out = project.git.text("log", "--diff-filter=A", "--format=%x00%H", "--name-only", "--", *untagged)
    first: dict[str, str] = {}  # the oldest comes last
    for block in out.split("\0")[1:]:
        commit, *paths = block.split("\n")
        first |= {path: commit for path in paths if path in untagged}
    contents = project.git.contents(f"{commit}:{path}" for path, commit in first.items())
    for path, commit in first.items():
        recorded, now = contents.get(f"{commit}:{path}"), there[untagged[path], "HEAD"]
        if recorded is not None and content_hash(recorded) != content_hash(now):
            said = f"{path} was changed after commit {commit[:12]} had released it. A manifest never changes."
            findings.append(Finding("differs", "frozen", f"{said} {_restore(path, commit[:12])}"))
    return findings


def _version(path: str) -> Number | None:
    file = Path(path)
    if file.suffix != ".json" or file.parent.as_posix() != "releases":
        return None
    try:
        return Number.parse(file.stem)
    except InvalidInput:
        return None


def folders(project: Project, tree: Tree, recorded: Mapping[Number, Release]) -> list[Finding]:
    """Files of frozen folders that are changed, added or missing, but for what `job remove` deleted."""
    removed = {(each.job, each.version) for each in project.settings.removals}
    found: list[Finding] = []
    added: dict[str, str] = {}
    for version, release in recorded.items():
        gone = {job for job in release.manifest.jobs if (job, version) in removed}
        here = {project.path(path) for path in project.files(version)}
        for path, expected in release.manifest.files.items():
            is_removed = _belongs(path, gone) or len(gone) == len(release.manifest.jobs)
            if path in here:
                is_link = project.folder(version).is_symlink() or (project.root / path).is_symlink()
                found += _present(tree, path, expected, release, is_removed, is_link)
            elif not is_removed:
                found.append(_missing(path, release))
        added |= {path: _added(path, release) for path in here - set(release.manifest.files)}
    ignored = _ignored(project, added) if added else set()
    return found + [Finding("differs", "frozen", said) for path, said in sorted(added.items()) if path not in ignored]


def _belongs(path: str, jobs: set[str]) -> bool:
    return Path(path).name.partition(".")[0] in jobs


def _present(tree: Tree, path: str, expected: str, release: Release, is_removed: bool, is_link: bool) -> list[Finding]:
    if is_removed:
        said = (
            f"{path} is there, and jobs.toml records that it was removed. Delete it (dbt-cicd job remove does), or the "
            "record."
        )
        return [Finding("differs", "frozen", said)]
    if is_link:
        said = f"{path} is frozen by {release.since} and is a link now. {_restore(path, release.by)}"
        return [Finding("differs", "frozen", said)]
    actual = content_hash(tree.read(path) or b"")
    if actual == expected:
        return []
    said = f"{path} is frozen by {release.since} and differs: {_hashes(expected, actual)}. {_restore(path, release.by)}"
    job = Path(path).stem
    if job in release.manifest.jobs:
        said += f" A change is a new version: dbt-cicd job new-version {job}."
    return [Finding("differs", "frozen", said)]


def _missing(path: str, release: Release) -> Finding:
    said = f"{path} is frozen by {release.since} and is missing. {_restore(path, release.by)}"
    job = Path(path).stem
    if job in release.manifest.jobs:
        said += f" A version goes with `dbt-cicd job remove {job} {release.manifest.version}`."
    return Finding("differs", "frozen", said)


def _added(path: str, release: Release) -> str:
    return f"{path} is new in a folder that is frozen by {release.since}. Delete it, or move it into a new version."


def _hashes(expected: str, actual: str) -> str:
    return f"{expected[:_SHOWN]} there, {actual[:_SHOWN]} here"


def _restore(path: str, by: str) -> str:
    return f"Restore it (git restore --source {by} {path})." if by else f"Restore it ({path})."


def _ignored(project: Project, paths: Mapping[str, str]) -> set[str]:
    """Those that git ignores: nobody will get them."""
    import os

    stdin = b"\0".join(map(os.fsencode, paths))
    done = project.git.run("check-ignore", "-z", "--stdin", stdin=stdin)
    return {os.fsdecode(path) for path in done.stdout.split(b"\0") if path}
