"""Virtual boards: a real kernel of Debian's on a machine that QEMU emulates, built once and booted by the rig `qemu`.

Layout:
    recipe.py       `Recipe`: what a board is made of, from a TOML of a dozen lines beside it; its digest names the image
    build.py        the image: Debian's packages, the kernel, the agent's libraries, one file system
    layout.py       what stands on the disk beside the packages: init, users, sshd, virtual environments
    kernel.py       the kernel's package, the modules that a board loads, and the small root that finds the disk
    cpio.py         that small root as the archive that the kernel unpacks
    debian.py       Debian's packages, from this machine's own sources, unpacked
    programs.py     programs of this machine, by which all of that is done
    machine.py      `VirtualMachine`: one QEMU with a disk, a console and a switch
    accelerator.py  whether this machine's processor runs a board, or QEMU translates
    qmp.py          `Qmp`: what QEMU is told while it runs
"""
