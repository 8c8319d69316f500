"""The porter: a small process that makes boxes and carries commands into them.

It is a program of its own, started with an empty environment and nothing but the standard library,
so that no memory, descriptor or variable of the daemon can be found by what runs in a box. Each
request comes on a socket with the descriptors it needs and is served by a fork, which answers on
the request's own socket. The porter keeps nothing.

How a command comes into a box. The fork joins the control groups, then the box's namespaces: first
the user namespace that owns the others, which gives it every right in there and none outside. It
makes a process namespace for this command alone, whose first process mounts a fresh `/proc`,
enters the innermost user namespace, gives up every right, puts on Landlock and the system call
filters, and starts the command. Killing that first process makes the kernel kill all others,
however they forked or hid. It also ends by itself when its socket closes: a daemon that is killed
takes all commands along.

Until the command's `execve` we are not dumpable, so nothing in the box can look into us.
"""
