"""The machine that is measured on, and what is installed on it."""

import datetime
import os
import platform
import shutil
import subprocess


def describe():
    """What a reader has to know of the machine; nothing that names it."""
    model = memory = ""
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    with open("/proc/meminfo") as file:
        memory = int(file.readline().split()[1]) // 1024
    return {"processor": model or platform.machine(), "cores": os.cpu_count(), "memory_mib": memory,
            "kernel": platform.release(), "system": system(), "user": "root" if os.geteuid() == 0 else "ordinary"}


def system():
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return platform.system()


def date():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def revision(directory):
    """The commit that is measured, with + when files differ from it."""
    try:
        commit = subprocess.run(["git", "-C", directory, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
        changed = subprocess.run(["git", "-C", directory, "status", "--porcelain", "Sources"], capture_output=True,
                                 text=True)
    except OSError:
        return ""
    return commit.stdout.strip() + ("+" if changed.stdout.strip() else "")


def packages(wanted, say):
    """Installs the Debian packages of programs that are missing: {program: package}. What cannot be had is said."""
    missing = {name: package for name, package in wanted.items() if not shutil.which(name)}
    if not missing:
        return
    if shutil.which("apt-get") and os.geteuid() == 0:
        environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        for package in sorted(set(missing.values())):
            subprocess.run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", package],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    for name, package in missing.items():
        if not shutil.which(name):
            say(f"{name} (Debian's {package}) is missing; what needs it is skipped")
