"""The few places where aiortc is told what its public interface cannot say.

The only file that touches its insides: aiortc codes a stream for each receiver, and so keeps keyframe
requests, loss and rate estimates to itself. Here one encode serves all, so they are handed to its owner.
Held by tests/edge_node/stream/test_webrtc.py with real connections; the range of versions in
pyproject.toml is narrow for the same reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aioice import Connection
from aiortc import RTCPeerConnection, RTCRtpSender
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpSrPacket,
    unpack_remb_fci,
)

MAX_BACKLOG_BYTES = 64 * 1024
"""Datagrams that the kernel did not take yet wait in asyncio without bound: more than this is a full way."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a receiver tells, and when we tell it our clock."""

    on_keyframe_wish: Callable[[], None]
    on_estimate: Callable[[float], None]
    """Bits a second (REMB)."""
    on_loss: Callable[[float], None]
    """Share of packets lost since the last report, 0..1."""
    on_sender_report: Callable[[int], None]
    """RTP timestamp of the packet that was sent last."""


def watch(sender: RTCRtpSender, feedback: Feedback) -> None:
    """Hand what this sender's receiver reports to `feedback`, and leave the sender's own work as it is."""
    handle, send = sender._handle_rtcp_packet, sender._send_rtcp

    async def handle_rtcp(packet: Any) -> None:
        _tell(packet, sender._ssrc, feedback)
        await handle(packet)

    async def send_rtcp(packets: list[Any]) -> None:
        for packet in packets:
            if isinstance(packet, RtcpSrPacket) and packet.sender_info.packet_count:
                feedback.on_sender_report(packet.sender_info.rtp_timestamp)
        await send(packets)

    # aiortc looks both up on the object each time: what stands on it goes before the class's.
    sender.__dict__["_handle_rtcp_packet"] = handle_rtcp
    sender.__dict__["_send_rtcp"] = send_rtcp


def _tell(packet: Any, ssrc: int, feedback: Feedback) -> None:
    if isinstance(packet, RtcpPsfbPacket):
        if packet.fmt in (RTCP_PSFB_FIR, RTCP_PSFB_PLI):
            feedback.on_keyframe_wish()
        elif packet.fmt == RTCP_PSFB_APP:
            try:
                bps, ssrcs = unpack_remb_fci(packet.fci)
            except ValueError:
                return  # another application's message
            if ssrc in ssrcs:
                feedback.on_estimate(float(bps))
    elif isinstance(packet, RtcpRrPacket | RtcpSrPacket):
        for report in packet.reports:
            if report.ssrc == ssrc:
                feedback.on_loss(report.fraction_lost / 256)


def offer_addresses(peer: RTCPeerConnection, addresses: Sequence[str]) -> None:
    """Receive on these addresses of this machine only, instead of all but loopback. Before answering."""
    for connection in _connections(peer):
        _gather_on(connection, list(addresses))


def _gather_on(connection: Connection, addresses: list[str]) -> None:
    async def gather() -> None:
        if connection._local_candidates_start:
            return
        connection._local_candidates_start = True
        found = await connection.get_component_candidates(component=1, addresses=addresses)
        connection._local_candidates += found
        connection._local_candidates_end = True

    connection.__dict__["gather_candidates"] = gather


def backlog_bytes(sender: RTCRtpSender) -> int:
    """What waits in this process because the kernel's buffer for this viewer is full."""
    pair = sender.transport.transport._connection._nominated.get(1)
    if pair is None:
        return 0
    # asyncio's own datagram transport has this, though the type for any such transport does not say so.
    size: int = getattr(pair.protocol.transport, "get_write_buffer_size")()  # noqa: B009
    return size


def _connections(peer: RTCPeerConnection) -> set[Connection]:
    transports = [t.sender.transport for t in peer.getTransceivers()]
    if peer.sctp is not None:
        transports.append(peer.sctp.transport)
    return {transport.transport._connection for transport in transports}
