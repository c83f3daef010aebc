"""Programs that try to get out of a sandbox or to cost more than their limits.

Each is bounded by itself as well: if a sandbox failed, floods would stop at a few hundred, loops after half a minute,
files at 300 MB, memory at 3 GB. Each prints ESCAPED when it got what it wanted. OUTSIDE is a folder of the test that
anybody may write to, HOME the home folder, PROJECT a file of this project; PORT, ABSTRACT and SOCKET are where
servers of the test listen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

FAILED, LATE, LEFT, MEMORY = "failed", "timed out", "ended early", "out of memory"


@dataclass(frozen=True)
class Hostile:
    """One program; `ends` are the outcomes that are right, `limits` what of the limits is another than the test's."""

    name: str
    program: str
    ends: tuple[str, ...] = (FAILED,)
    limits: dict[str, Any] = field(default_factory=dict)


_CALL = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def refused(name, *arguments):
    if getattr(libc, name)(*arguments) != -1:
        print("ESCAPED", name)
def call_refused(number, *arguments):
    if libc.syscall(number, *arguments) != -1:
        print("ESCAPED", number)
"""
_BUSY = "import time\nuntil = time.monotonic() + 30\nwhile time.monotonic() < until: pass\n"
_FORKS = {"processes": 12, "memory_bytes": 12 << 30}  # forks allowed: the walls behind

HOSTILE = (
    # more processes than allowed
    Hostile("fork flood", "import os\nfor _ in range(200):\n    if os.fork() == 0: os._exit(0)\nprint('ESCAPED')"),
    Hostile(
        "fork flood where forks are allowed",
        "import os, time\nn = 0\ntry:\n    for _ in range(200):\n"
        "        if os.fork() == 0: time.sleep(30); os._exit(0)\n"
        "        n += 1\nfinally:\n    print('ESCAPED' if n > 40 else n)",
        limits=_FORKS,
    ),
    Hostile(
        "thread flood",
        "import threading, time\nn = 0\ntry:\n    for _ in range(400):\n"
        "        threading.Thread(target=time.sleep, args=(30,), daemon=True).start()\n        n += 1\n"
        "finally:\n    print('ESCAPED' if n > 40 else n)",
    ),
    Hostile("subprocess", "import subprocess\nprint('ESCAPED', subprocess.run(['/bin/echo', 'hi']))"),
    Hostile("shell", "import os\nassert os.system('echo ESCAPED') == 0"),
    Hostile("exec", "import os, sys\nos.execv(sys.executable, [sys.executable, '-c', 'print(\"ESCAPED\")'])"),
    Hostile(
        "daemon that writes later",
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(0.5)\n"
        "        open('OUTSIDE/later', 'w').write('here')\n        time.sleep(20)\n    os._exit(0)\n",
        ends=("passed",),
        limits=_FORKS,
    ),
    # the network
    Hostile("TCP", "import socket\nsocket.create_connection(('127.0.0.1', PORT), 2).send(b'x'); print('ESCAPED')"),
    Hostile(
        "UDP",
        "from socket import *\nsocket(AF_INET, SOCK_DGRAM).sendto(b'x', ('127.0.0.1', PORT))",
    ),
    Hostile("DNS", "import socket\nprint('ESCAPED', socket.gethostbyname('localhost.localdomain'))"),
    Hostile(
        "abstract socket",
        "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('\\0ABSTRACT'); s.send(b'x')",
    ),
    Hostile("socket file", "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('SOCKET'); s.send(b'x')"),
    Hostile(
        "web",
        "from urllib.request import urlopen\nprint('ESCAPED', urlopen('http://127.0.0.1:PORT', timeout=2))",
    ),
    # reading what is not its own
    Hostile(
        "home folder",
        "import os\nfor name in ('.ssh', '.bashrc', '.bash_history', '.cache', '.config', '.profile'):\n"
        "    if os.path.lexists('HOME/' + name): print('ESCAPED', name)\nopen('HOME/.bashrc')",
    ),
    Hostile("project", "print('ESCAPED', open('PROJECT').read())"),
    Hostile("password file", "print('ESCAPED', open('/etc/shadow').read())"),
    Hostile("user list", "print('ESCAPED', open('/etc/passwd').read())"),
    Hostile(
        "other processes",
        "import glob\nfor path in glob.glob('/proc/*/environ') + ['/proc/1/environ', '/proc/self/mem']:\n"
        "    print('ESCAPED', open(path, 'rb').read(100))",
    ),
    Hostile("environment", "import os\nassert 'hidden-from-programs' in str(dict(os.environ))"),
    Hostile(
        "links out of the scratch folder",
        "import os\nos.symlink('/etc/shadow', 'a'); os.symlink('OUTSIDE', 'b')\n"
        "try: open('b/linked', 'w').write('here')\nexcept OSError: pass\n"
        "try: os.link('/etc/ld.so.cache', 'c')\nexcept OSError: pass\nprint('ESCAPED', open('a').read())",
    ),
    Hostile("standard input", "import os\nassert os.read(0, 10) == b''\nprint('ESCAPED', input())"),
    # writing outside, filling
    Hostile(
        "writing outside",
        "import os\nlibrary = os.path.dirname(os.__file__)\n"
        "for folder in ('OUTSIDE', '/', '/usr', '/etc', '/dev', '/var/tmp', 'HOME', library):\n"
        "    try: open(folder + '/left-by-a-program', 'w').write('x')\n    except OSError: continue\n"
        "    print('ESCAPED', folder)\nopen('OUTSIDE/x', 'w')",
    ),
    Hostile(
        "filling the disk",
        "n = 0\ntry:\n    for i in range(75):\n"
        "        with open(f'part{i}', 'wb') as file: n += file.write(bytes(4 << 20))\n"
        "finally:\n    print('ESCAPED' if n > 20 << 20 else n)",
    ),
    Hostile("huge file", "open('large', 'wb').truncate(1 << 40)"),
    Hostile(
        "many files",
        "for i in range(20_000): open(f'f{i}', 'w').close()\nprint('ESCAPED')",
        ends=(FAILED, "killed"),
    ),
    Hostile(
        "device nodes",
        "import os, stat\nos.mknod('disk', 0o600 | stat.S_IFBLK, os.makedev(254, 0))\nprint('ESCAPED')",
    ),
    # killing and tracing others
    Hostile(
        "killing the parent",
        "import os, time\nfor pid in (os.getppid(), 1, 0x7fffffff):\n    for signal in (9, 15, 19):\n"
        "        try: os.kill(pid, signal)\n        except OSError: pass\ntime.sleep(0.2)",
        ends=("passed",),
    ),
    Hostile("killing everybody", "import os, time\nos.kill(-1, 9)\ntime.sleep(0.2)", ends=("passed", FAILED)),
    Hostile("killing its group", "import os\nos.killpg(0, 9)", ends=("killed", FAILED)),
    Hostile("tracing", _CALL + "refused('ptrace', 16, 1, 0, 0); refused('ptrace', 0, 0, 0, 0)\n1/0"),
    Hostile("stopping itself", "import os\nos.kill(os.getpid(), 19)", ends=(LATE,)),
    Hostile("segmentation fault", "import ctypes\nctypes.string_at(0)", ends=("killed",)),
    Hostile("core dump", "import os, resource\nos.abort()", ends=("killed",)),
    # becoming somebody else
    Hostile(
        "root",
        "import os\nfor act in (os.setuid, os.setgid, os.seteuid):\n    try: act(0)\n    except OSError: continue\n"
        "    print('ESCAPED', act)\nassert os.getuid() == 0",
    ),
    Hostile(
        "mount and namespaces",
        _CALL + "os.mkdir('m')\nrefused('mount', b'x', b'm', b'tmpfs', 0, b'size=1m')\n"
        "for flag in (0x10000000, 0x00020000, 0x40000000): refused('unshare', flag)\nrefused('chroot', b'/tmp')\n"
        "refused('umount2', b'/tmp', 2)\n1/0",
    ),
    Hostile(
        "higher limits",
        "import resource as r\nfor name in ('AS', 'NPROC', 'FSIZE', 'CPU', 'NOFILE', 'CORE'):\n"
        "    try: r.setrlimit(getattr(r, 'RLIMIT_' + name), (r.RLIM_INFINITY, r.RLIM_INFINITY))\n"
        "    except (ValueError, OSError): continue\n"
        "    print('ESCAPED', name)\n1/0",
    ),
    Hostile("the clock", "import time\ntime.clock_settime(time.CLOCK_REALTIME, 0)\nprint('ESCAPED')"),
    # printing
    Hostile(
        "printing gigabytes",
        "import os\nfor _ in range(2000): os.write(1, b'x' * (1 << 20))",
        ends=("passed", LATE),
    ),
    Hostile("an endless error", "raise ValueError('x' * 10**8)"),
    Hostile(
        "an error that hangs",
        "import time\nclass E(Exception):\n    def __str__(self): time.sleep(30)\nraise E",
        ends=(LATE,),
    ),
    # time
    Hostile("busy for ever", _BUSY, ends=(LATE,)),
    Hostile("asleep for ever", "import time\ntime.sleep(30)", ends=(LATE,)),
    Hostile(
        "deaf to signals",
        "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\n" + _BUSY,
        ends=(LATE,),
    ),
    Hostile("one long call", "x = 9 ** 9 ** 8", ends=(LATE, MEMORY)),
    Hostile("a regular expression", "import re\nre.match('(a+)+$', 'a' * 34 + 'b')", ends=(LATE,)),
    # memory
    Hostile("memory", "x = []\nfor _ in range(300): x.append(b'x' * 10_000_000)\nprint('ESCAPED')", ends=(MEMORY,)),
    Hostile(
        "arrays",
        "import numpy\nx = [numpy.ones(2 * 10**8) for _ in range(2)]\nprint('ESCAPED')",
        ends=(FAILED, MEMORY),
    ),
    Hostile("mapped memory", "import mmap\nx = [mmap.mmap(-1, 1 << 28) for _ in range(12)]\nprint('ESCAPED')"),
    Hostile("memory files", "import os\nx = os.memfd_create('x')\nprint('ESCAPED')"),
    Hostile(
        "shared memory",
        _CALL + "refused('shmget', 4711, 1 << 20, 0o1666)\n"
        "from multiprocessing import shared_memory\nshared_memory.SharedMemory(create=True, size=1 << 20)\n"
        "print('ESCAPED')",
    ),
    Hostile("descriptors", "import os\nx = [os.pipe() for _ in range(500)]\nprint('ESCAPED')"),
    Hostile("parentheses", "x = " + "(" * 100_000 + ")" * 100_000, ends=(FAILED, MEMORY)),
    Hostile(
        "recursion",
        "import sys\nsys.setrecursionlimit(10**9)\ndef f(): return [f()]\nf()",
        ends=(FAILED, MEMORY, LATE, "killed"),
    ),
    Hostile(
        "other calls of the kernel",
        _CALL + "for number in (321, 298, 250, 425, 323, 175, 310): call_refused(number, 0, 0, 0, 0, 0, 0)\n1/0",
    ),
)  # fmt: skip

_TESTS = "\ndef f(): return 1\nassert f() == 2\n"  # never reached, or failing
FORGERS = (
    Hostile("leaving", "import os; os._exit(0)" + _TESTS, (LEFT,)),
    Hostile("leaving politely", "raise SystemExit" + _TESTS, (LEFT,)),
    Hostile("sys.exit", "import sys; sys.exit(0)" + _TESTS, (LEFT,)),
    Hostile(
        "leaving in a thread",
        "import os, threading, time\nthreading.Thread(target=os._exit, args=(0,)).start()\ntime.sleep(5)",
        (LEFT,),
    ),
    Hostile("claiming", "print('passed'); print('{\"status\": \"passed\"}')" + _TESTS),
    Hostile("closing everything", "import os; os.closerange(0, 4096)", (LEFT,)),
    Hostile(
        "writing to everything",
        "import os\nfor word in (b'passed', b'{\"status\": \"passed\", \"why\": \"\"}', bytes(16)):\n"
        "    for n in range(100):\n        try: os.write(n, word)\n        except OSError: pass\nos._exit(0)",
        (LEFT,),
    ),
    Hostile(
        "writing before failing",
        "import os\nfor n in range(3, 100):\n    try: os.write(n, b'x')\n    except OSError: pass",
        (LEFT,),
    ),
    Hostile(
        "claiming that there was no sandbox",
        "import os\nos.write(3, b'{\"status\": \"refused\", \"why\": \"\"}'); os._exit(1)",
        (LEFT,),
    ),
    Hostile(
        "searching its frames",
        "import os, sys\nf, found = sys._getframe(), []\nwhile f:\n"
        "    found += [*f.f_locals.values(), *f.f_globals.values()]; f = f.f_back\n"
        "secrets = {x for x in found if isinstance(x, bytes) and len(x) == 16}\n"
        "if secrets: os.write(3, secrets.pop())\nos._exit(0)",
        (LEFT,),
    ),
    Hostile(
        "searching its frames in a handler",
        "import os, signal\ndef look(number, f):\n    while f:\n        for x in [*f.f_locals.values()]:\n"
        "            if isinstance(x, bytes) and len(x) == 16: os.write(3, x); os._exit(0)\n"
        "        f = f.f_back\n    os._exit(0)\n"
        "signal.signal(10, look)\nos.kill(os.getpid(), 10)",
        (LEFT,),
    ),
    Hostile("searching its objects", "import gc, sys\nprint(gc.get_referents(sys._getframe(1)))" + _TESTS),
    Hostile("reading the secret again", "import os\nos.write(3, os.read(4, 16))" + _TESTS),
    Hostile("tracing its frames", "import sys\nsys.settrace(lambda *a: None)" + _TESTS),
    Hostile("another os._exit", "import os\nos._exit = os.write = lambda *a: None" + _TESTS),
    Hostile(
        "other builtins",
        "import builtins as b\nb.BaseException = b.AssertionError = b.SystemExit = int\nb.compile = b.exec = print"
        + _TESTS,
    ),
    Hostile("an own AssertionError", "class AssertionError(SystemExit): pass" + _TESTS),
    Hostile("another exit", "import sys, builtins\nbuiltins.exit = sys.exit = lambda *a: None" + _TESTS),
    Hostile("at the end of everything", "import atexit, os\natexit.register(os._exit, 0)" + _TESTS),
    Hostile("in a hook", "import os, sys\nsys.excepthook = lambda *a: os._exit(0)" + _TESTS),
    Hostile("signals", "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)" + _TESTS, ("killed",)),
    Hostile("an exception that is none", "class E(BaseException): pass\nraise E", (FAILED,)),
    Hostile("interrupting", "raise KeyboardInterrupt" + _TESTS, (FAILED,)),
    Hostile("a generator's exit", "raise GeneratorExit" + _TESTS, (FAILED,)),
    Hostile("no Python", "def f(:\n" + _TESTS, (FAILED,)),
    Hostile("no text", "x = 1\0", (FAILED,)),
    Hostile("half a letter", "x = '\ud800'", (FAILED,)),
)  # fmt: skip
