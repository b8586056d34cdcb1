"""The base layer that every guest finds: the skeleton of its file tree, and the archive that it is packed into."""

import json
import tarfile

SKELETON_FOLDERS = ["tmp", "mnt/data", "home/user", "dev", "etc", "usr/bin", "proc", "var/tmp"]
SKELETON_FILES = {
    "etc/hostname": "sandpool\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n",
    "etc/group": "root:x:0:\nuser:x:1000:\n",
    "etc/os-release": 'NAME="Sandpool"\nID=sandpool\nPRETTY_NAME="Sandpool (WebAssembly)"\n',
    "etc/timezone": "Etc/UTC\n",
}


def skeleton(root):
    """The folders and files that programs expect on any machine."""
    for name in SKELETON_FOLDERS:
        (root / name).mkdir(parents=True)
    for name, text in SKELETON_FILES.items():
        (root / name).write_text(text)


def pack(root, folder, manifest, packages):
    """What a recipe leaves beside the module: `base.tar` of the tree below `root`, and `packages.json`."""
    answer = {"runtime": {"name": manifest["name"], "version": manifest["version"]}, "packages": packages}
    (folder / "packages.json").write_text(json.dumps(answer, indent=1) + "\n")
    _archive(root, folder / "base.tar")


def _archive(root, target):
    """A deterministic tar: sorted, one owner, one time, only folders, files and links."""
    def plain(info):
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        info.mtime = 1735689600  # 2025-01-01: zip archives made in the guest cannot hold times before 1980
        info.mode = 0o755 if info.isdir() else 0o644
        return info

    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(root.rglob("*"), key=lambda path: path.relative_to(root).parts):
            tar.add(path, str(path.relative_to(root)), recursive=False, filter=plain)
