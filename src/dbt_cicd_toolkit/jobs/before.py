"""How a working tree was before hooks had their say."""

from __future__ import annotations

from collections.abc import Mapping

from dbt_cicd_toolkit.errors import Refused
from dbt_cicd_toolkit.files import write_atomically
from dbt_cicd_toolkit.git import Git
from dbt_cicd_toolkit.jobs.project import Project
from dbt_cicd_toolkit.jobs.state import some


class Before:
    """A working tree; ``known``: {path: content} of files that were read."""

    def __init__(self, project: Project, git: Git, known: Mapping[str, bytes]) -> None:
        self.project = project
        self.git = git
        self.known = known
        self.modes = {path: (project.root / path).stat().st_mode & 0o777 for path in known}
        self.status = git.status()

    def restore(self) -> str:
        """Put back what is known; what to tell of that, and of what has changed otherwise. What is replaced may be the
        work of somebody else, so git keeps it."""
        said = []
        try:
            replaced = [each for path in self.known if (each := self._put_back(path))]
            left = [path for path, how in self.git.status().items() if self.status.get(path) != how]
        except (OSError, Refused) as error:
            return f"What a hook changed could not be put back: {error}"
        if replaced:
            said.append(f"Put back as it was: {', '.join(replaced)}.")
        if left:
            said.append(
                f"Changed meanwhile, by a hook or by somebody, and left so: {some(left)}. Look at `git status`."
            )
        return "\n".join(said)

    def _put_back(self, path: str) -> str | None:
        file = self.project.root / path
        found = file.read_bytes() if file.is_file() else None
        if found == self.known[path]:
            return None
        kept = self.git.text("hash-object", "-w", "--stdin", stdin=found) if found is not None else None
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, self.known[path], self.modes[path])
        return f"{path} (what it had become: git cat-file -p {kept[:12]})" if kept else path
