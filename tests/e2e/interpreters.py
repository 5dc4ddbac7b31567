# SPDX-License-Identifier: BSD-3-Clause
"""Every CPython of this machine: Debian's own, pyenv's, and those of scripts/pythons' chroots."""

import glob
import os
import re
import shutil
import tempfile

import harness
from harness import Skip

OLDEST, NEWEST = (3, 9), (3, 15)
PYENV = os.path.join(os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv")), "versions")
PYTHONS = os.path.join(harness.ROOT, "build", "pythons")
CHROOTS = {"bullseye": ["3.9"], "trixie": ["3.13"], "sid": ["3.14", "3.15"]}


class Interpreter:
    """`label` is its name in tests. `root` is a chroot of scripts/pythons, or None; `path` is the
    interpreter as seen there, `outside` as seen here."""

    def __init__(self, label, version, path, suite=None):
        self.label, self.path, self.suite = label, path, suite
        self.version = tuple(int(word) for word in version.split(".")[:2])
        self.root = os.path.join(PYTHONS, suite) if suite else None
        self.outside = self.root + path if suite else path

    @property
    def name(self):
        return f"{self.label} ({'.'.join(map(str, self.version))})"

    @property
    def is_known(self):
        return OLDEST <= self.version <= NEWEST

    def place(self, context):
        """A directory that it can read, with the workloads; returns (as seen there, here)."""
        if not self.suite:
            return harness.WORKLOADS, harness.WORKLOADS
        outside = self.scratch(context)
        for name in os.listdir(harness.WORKLOADS):
            if name.endswith(".py"):
                shutil.copy(os.path.join(harness.WORKLOADS, name), outside)
        return outside[len(self.root):], outside

    def scratch(self, context):
        """An empty directory of the test, as seen here, that it can write to."""
        if not self.suite:
            return tempfile.mkdtemp(dir=context.dir)
        made = tempfile.mkdtemp(prefix="pikos-e2e-", dir=os.path.join(self.root, "tmp"))
        context.cleanup(lambda: shutil.rmtree(made, ignore_errors=True))
        os.chmod(made, 0o755)
        return made

    def inside(self, path):
        """A path as it sees it."""
        return path[len(self.root):] if self.suite else path

    def command(self, *arguments):
        """What starts it; every step is an exec in one pid."""
        words = [self.path, *arguments]
        if self.suite:
            words = [os.path.join(harness.ROOT, "scripts", "pythons"), "--run", self.suite, *words]
        return words


def _label(*parts):
    return re.sub(r"\W", "_", "_".join(parts))


def _on_path():
    for directory in ("/usr/bin", "/usr/local/bin"):
        for path in sorted(glob.glob(directory + "/python[23].*")):
            version = re.fullmatch(r"python(\d\.\d+)", os.path.basename(path))
            if version and not os.path.islink(path):
                yield Interpreter(_label("system" if directory == "/usr/bin" else "local",
                                         version[1]), version[1], path)


def _of_pyenv():
    for directory in sorted(glob.glob(PYENV + "/*")):
        version = os.path.basename(directory)
        path = directory + "/bin/python" + ".".join(version.split(".")[:2])
        if re.fullmatch(r"\d+\.\d+\.\d+t?", version) and os.path.exists(path):
            yield Interpreter(_label("pyenv", version), version.rstrip("t"), path)


def _of_chroots():
    for suite in CHROOTS:
        try:
            with open(os.path.join(PYTHONS, suite, ".ready")) as stream:
                paths = ["/" + line.strip() for line in stream if line.strip()]
        except FileNotFoundError:
            continue
        for path in paths:
            version = re.fullmatch(r"/usr/bin/python(\d\.\d+)", path)
            if version:
                yield Interpreter(_label(suite, version[1]), version[1], path, suite)


def found():
    """Those that are here, known versions or not."""
    return [*_on_path(), *_of_pyenv(), *_of_chroots()]


def known():
    """Those that the agent is for."""
    return [each for each in found() if each.is_known]


def missing():
    """{label: reason} of what tests would use and this machine lacks."""
    here = {(each.suite, ".".join(map(str, each.version))) for each in found()}
    return {_label(suite, version): f"no CPython {version} of Debian {suite} (make pythons)"
            for suite, versions in CHROOTS.items() for version in versions
            if (suite, version) not in here}


def newest():
    """A known one of this machine's own file system, of the newest version."""
    own = [each for each in known() if not each.suite]
    if not own:
        raise Skip("no CPython 3.9 or later outside of chroots")
    return max(own, key=lambda each: each.version)


def of_version(major, minor):
    """One of a version, outside of chroots if possible."""
    its = [each for each in known() if each.version == (major, minor)]
    if not its:
        raise Skip(f"no CPython {major}.{minor} (make pythons, pyenv)")
    return min(its, key=lambda each: bool(each.suite))
