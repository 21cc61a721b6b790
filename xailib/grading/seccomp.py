"""A filter of system calls: no sockets, no other processes, no signals to others, no change of a file's owner or mode.

Landlock governs what is opened, made and removed. What it leaves open is refused here, with "operation not permitted".
"""

import ctypes
import os
import platform
import struct

# name: number on x86-64, on 64-bit ARM (-1: there is none)
REFUSED = {
    "socket": (41, 198), "fork": (57, -1), "vfork": (58, -1), "execve": (59, 221), "execveat": (322, 281),
    "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "ptrace": (101, 117), "kcmp": (312, 272),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "process_madvise": (440, 440),
    "io_uring_setup": (425, 425), "memfd_create": (319, 279), "memfd_secret": (447, 447), "userfaultfd": (323, 282),
    "bpf": (321, 280), "perf_event_open": (298, 241), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "chroot": (161, 51),
    "shmget": (29, 194), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180), "setpriority": (141, 140),
    "ioprio_set": (251, 30), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118), "sched_setattr": (314, 274),
    "migrate_pages": (256, 238), "move_pages": (279, 239),
    "chmod": (90, -1), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, -1),
    "lchown": (94, -1), "fchown": (93, 55), "fchownat": (260, 54), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "setxattrat": (463, 463), "removexattrat": (466, 466), "utime": (132, -1), "utimes": (235, -1),
    "futimesat": (261, -1), "utimensat": (280, 88), "truncate": (76, 45),
}  # fmt: skip
ON_ITSELF_ONLY = {"kill": (62, 129), "tgkill": (234, 131), "prlimit64": (302, 261), "sched_setaffinity": (203, 122)}
CLONE, CLONE3, CAPSET = (56, 220), (435, 435), (126, 91)
# a signal can also be sent by making another process the owner of a socket: fcntl's F_SETOWN, ioctl's FIOSETOWN
SECOND_ARGUMENT_REFUSED = {"fcntl": ((72, 25), (8, 15)), "ioctl": ((16, 29), (0x8901, 0x8902))}
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # which of the two numbers, the kernel's name

_LOAD, _EQUAL, _ATLEAST, _HASBIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _NOT_PERMITTED, _NO_SUCH_CALL = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
_NUMBER, _MACHINE, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24  # offsets in the record that a filter sees
_THREAD = 0x00010000  # of clone's flags


def apply(libc: ctypes.CDLL) -> bool:
    """Gives up root's capabilities and filters the calls of this process; False where that is not possible."""
    if platform.machine() not in MACHINES:
        return False
    which, machine = MACHINES[platform.machine()]
    nothing = struct.pack("6I", *[0] * 6)
    dropped = libc.syscall(ctypes.c_long(CAPSET[which]), struct.pack("Ii", 0x20080522, 0), nothing) == 0
    lines = b"".join(struct.pack("HBBI", *line) for line in program(which, machine, os.getpid()))
    code = ctypes.create_string_buffer(lines, len(lines))
    filters = struct.pack("HxxxxxxP", len(lines) // 8, ctypes.addressof(code))
    return dropped and libc.prctl(22, 2, filters, 0, 0) == 0  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


def program(which: int, machine: int, own: int) -> list[tuple[int, int, int, int]]:
    """The filter, a line an instruction: what to do, how many lines to skip if true, if false, and a number."""
    lines = [(_LOAD, 0, 0, _MACHINE), (_EQUAL, 1, 0, machine), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, _NUMBER)]
    lines += [(_ATLEAST, 0, 1, 0x40000000), (_RETURN, 0, 0, _NOT_PERMITTED)]  # the 32-bit calls of x86-64
    for number in (numbers[which] for numbers in REFUSED.values() if numbers[which] >= 0):
        lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _NOT_PERMITTED)]
    for numbers in ON_ITSELF_ONLY.values():
        lines += [(_EQUAL, 0, 5, numbers[which]), (_LOAD, 0, 0, _FIRST_ARGUMENT), (_EQUAL, 2, 0, 0)]
        lines += [(_EQUAL, 1, 0, own), (_RETURN, 0, 0, _NOT_PERMITTED), (_RETURN, 0, 0, _ALLOW)]
    for numbers, values in SECOND_ARGUMENT_REFUSED.values():
        lines += [(_EQUAL, 0, 2 * len(values) + 2, numbers[which]), (_LOAD, 0, 0, _SECOND_ARGUMENT)]
        lines += [line for value in values for line in ((_EQUAL, 0, 1, value), (_RETURN, 0, 0, _NOT_PERMITTED))]
        lines += [(_RETURN, 0, 0, _ALLOW)]
    lines += [(_EQUAL, 0, 1, CLONE3[which]), (_RETURN, 0, 0, _NO_SUCH_CALL)]  # so that the C library takes clone
    lines += [(_EQUAL, 0, 4, CLONE[which]), (_LOAD, 0, 0, _FIRST_ARGUMENT), (_HASBIT, 1, 0, _THREAD)]
    lines += [(_RETURN, 0, 0, _NOT_PERMITTED), (_RETURN, 0, 0, _ALLOW)]
    return [*lines, (_RETURN, 0, 0, _ALLOW)]
