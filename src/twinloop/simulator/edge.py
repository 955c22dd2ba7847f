"""What flows are granted inside slices, what the edge transcodes for them, and the energy of cells and servers."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from twinloop.entities import Action
from twinloop.simulator.topology import Topology
from twinloop.units import w_from_dbm

LONGEST_DELAY_S = 10.0
_PACKET_BITS = 12_000.0
_LOWEST_REPORT_SE = 0.05


class Edge(eqx.Module):
    """Work of transcoding, `cycles_per_bit` of output, and energy to send and take in one bit of report."""

    cycles_per_bit: Float[Array, ""]
    report_energy_j_per_bit: Float[Array, ""]


class Overhead(eqx.Module):
    """What the twins use in this slot: bits reported by each user, cycles of each server."""

    bits: Float[Array, " users"]
    cycles: Float[Array, " servers"]


class Flows(eqx.Module):
    """Radio bearers and what they ask for: content that a cache of `cached_bytes_before` holds; less, and the edge must
    transcode it. `airtime_s` is what a handover leaves of the slot, `queue_bits` waits to be transcoded.
    """

    active: Bool[Array, " flows"]
    cell: Int[Array, " flows"]
    slice: Int[Array, " flows"]
    spectral_efficiency: Float[Array, " flows"]
    airtime_s: Float[Array, " flows"]
    want_bits: Float[Array, " flows"]
    cached_bytes_before: Float[Array, " flows"]
    queue_bits: Float[Array, " flows"]


class Limits(eqx.Module):
    """What slices really have: the action's reservations, cut to what cells and servers hold after the twins' share."""

    bandwidth_hz: Float[Array, "cells slices"]
    cycles_per_s: Float[Array, "cells slices"]
    cache_bytes: Float[Array, "cells slices"]
    link_bps: Float[Array, "cells slices"]
    overhead_bandwidth_hz: Float[Array, " cells"]
    overhead_cycles_per_s: Float[Array, " servers"]


class Delivery(eqx.Module):
    """What every flow got in one slot; `bits` that were not transcoded came from the store or the cache."""

    bandwidth_hz: Float[Array, " flows"]
    cycles_per_s: Float[Array, " flows"]
    rate_bps: Float[Array, " flows"]
    bits: Float[Array, " flows"]
    transcoded_bits: Float[Array, " flows"]
    queue_bits: Float[Array, " flows"]
    delay_s: Float[Array, " flows"]


class Usage(eqx.Module):
    """The slot as cells, slices and servers saw it."""

    load: Float[Array, " cells"]
    used_bandwidth_hz: Float[Array, " cells"]
    overhead_bandwidth_hz: Float[Array, " cells"]
    throughput_bps: Float[Array, " cells"]
    cell_power_w: Float[Array, " cells"]
    report_power_w: Float[Array, " cells"]
    slice_used_hz: Float[Array, "cells slices"]
    utilisation: Float[Array, " servers"]
    queue_cycles: Float[Array, " servers"]
    cache_hits_bits: Float[Array, " servers"]
    cache_misses_bits: Float[Array, " servers"]
    server_power_w: Float[Array, " servers"]


def flows(
    active: Bool[Array, " flows"],
    cell: Int[Array, " flows"],
    in_slice: Int[Array, " flows"],
    spectral_efficiency: Float[Array, " flows"],
    airtime_s: Float[Array, " flows"],
    queue_bits: Float[Array, " flows"],
) -> Flows:
    """Flows that ask for nothing yet."""
    nothing = jnp.zeros_like(airtime_s)
    return Flows(active, cell, in_slice, spectral_efficiency, airtime_s, nothing, nothing, queue_bits)


def joined(first: Flows, second: Flows) -> Flows:
    """The flows of `first`, then those of `second`."""
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, second)


def limits(
    topology: Topology,
    active: Bool[Array, " slices"],
    action: Action,
    overhead: Overhead,
    report_hz: Float[Array, " cells"],
    slot_s: float,
) -> Limits:
    """Resources of slices by cell.

    A reservation is taken as 0 where it is negative, not a number, or its slice is not `active`. If the reservations of
    a pool sum to more than the pool less the twins' share, all are scaled down alike. The backhaul belongs to slices in
    proportion to their bandwidth. A server's cycles and cache are given per (server, slice), seen from each cell.
    """
    spent = jnp.minimum(overhead.cycles / slot_s, topology.server_cycles_per_s)
    report = jnp.minimum(report_hz, topology.cell_bandwidth_hz)
    bandwidth = _fitted(action.slice_bandwidth_hz, active, topology.cell_bandwidth_hz - report)
    cycles = _fitted(action.slice_cycles_per_s, active, topology.server_cycles_per_s - spent)
    cache = _fitted(action.slice_cache_bytes, active, topology.server_cache_bytes)
    share = bandwidth / jnp.maximum(jnp.sum(bandwidth, axis=1, keepdims=True), 1e-6)
    server = topology.cell_server
    return Limits(bandwidth, cycles[server], cache[server], share * topology.link_capacity_bps[:, None], report, spent)


def report_bandwidth_hz(
    bits: Float[Array, " users"],
    cell: Int[Array, " users"],
    spectral_efficiency: Float[Array, " users"],
    cells: int,
    slot_s: float,
) -> Float[Array, " cells"]:
    """Bandwidth that reports take from each cell, sum_u bits_u / (se_u tau), se at least .05 bit/s/Hz.

    Uplink and downlink share one band (time division) with the same efficiency; left out: scheduling requests, headers.
    """
    return jax.ops.segment_sum(bits / jnp.maximum(spectral_efficiency, _LOWEST_REPORT_SE) / slot_s, cell, cells)


def deliver(topology: Topology, edge: Edge, action: Action, flows: Flows, limit: Limits, slot_s: float) -> Delivery:
    """Bits that every flow gets.

    Flows of a slice in a cell share its bandwidth, those of a slice at a server its cycles, as the action says, scaled
    down alike where they ask for more than is there; what a flow does not use stays unused. Budget w_f se_f airtime,
    cut to what it wants, then to the slice's part of the backhaul (unused parts go to slices that lack), then by
    `transcode`.
    """
    cells, slices = limit.bandwidth_hz.shape
    place = flows.cell * slices + flows.slice

    def by_slice(value: Float[Array, " flows"]) -> Float[Array, "cells slices"]:
        return jax.ops.segment_sum(value, place, cells * slices).reshape(cells, slices)

    def of_flow(value: Float[Array, "cells slices"]) -> Float[Array, " flows"]:
        return value.reshape(-1)[place]

    asked_hz = _sane(action.flow_bandwidth_hz, flows.active, jnp.max(topology.cell_bandwidth_hz))
    asked_cycles = _sane(action.flow_cycles_per_s, flows.active, jnp.max(topology.server_cycles_per_s))
    bandwidth = asked_hz * of_flow(_ratio(limit.bandwidth_hz, by_slice(asked_hz)))
    same_server = (topology.cell_server[:, None] == topology.cell_server[None, :]).astype(jnp.float32)
    at_server = jnp.matmul(same_server, by_slice(asked_cycles), precision="highest")
    cycles = asked_cycles * of_flow(_ratio(limit.cycles_per_s, at_server))
    rate = bandwidth * flows.spectral_efficiency * flows.airtime_s / slot_s
    carried = jnp.minimum(rate * slot_s, flows.want_bits)
    offered = by_slice(carried)
    carried *= of_flow(_ratio(_backhaul(offered, limit.link_bps * slot_s), offered))
    missing = flows.cached_bytes_before > of_flow(limit.cache_bytes)
    served_bits = cycles * slot_s / jnp.maximum(edge.cycles_per_bit, 1e-6)
    transcoded, direct, queue = transcode(flows.queue_bits, carried, missing, served_bits)
    delay = _delay_s(topology, flows, rate, queue, served_bits, slot_s)
    return Delivery(bandwidth, cycles, rate, transcoded + direct, transcoded, queue, delay)


def transcode(
    queue_bits: Float[Array, " flows"],
    carried_bits: Float[Array, " flows"],
    missing: Bool[Array, " flows"],
    served_bits: Float[Array, " flows"],
) -> tuple[Float[Array, " flows"], Float[Array, " flows"], Float[Array, " flows"]]:
    """Transcoded bits, bits straight from the store, and the queue after one slot, first in, first out within a flow.

    What is `missing` joins the queue up to what the radio can carry; the server works off at most `served_bits` (and
    `carried_bits`: nothing is done ahead of the radio); stored content passes once the queue is empty. Left out: order
    between flows (each has its own cycles), work already spent on bits that are cancelled.
    """
    waiting = jnp.where(missing, jnp.maximum(queue_bits, carried_bits), queue_bits)
    transcoded = jnp.minimum(jnp.minimum(waiting, served_bits), carried_bits)
    left = waiting - transcoded
    direct = jnp.where(missing | (left > 0), 0.0, carried_bits - transcoded)
    return transcoded, direct, left


def usage(
    topology: Topology, edge: Edge, overhead: Overhead, flows: Flows, delivery: Delivery, limit: Limits, slot_s: float
) -> Usage:
    """Sums over flows, and power.

    Used bandwidth sum_f bits_f / (se_f tau); load (used + reports) / W. A cell draws P_static + load P_tx / eta, a
    server kappa F^2 joules for each cycle, at its frequency F in cycles/s; a report costs its energy per bit, shared by
    cells as the bandwidth of reports is. Left out: sleep modes, cooling, energy of the players' screens.
    """
    cells, slices = limit.bandwidth_hz.shape
    servers = topology.server_kappa.shape[0]
    place = flows.cell * slices + flows.slice

    def by_cell(value: Float[Array, " flows"]) -> Float[Array, " cells"]:
        return jnp.sum(jax.ops.segment_sum(value, place, cells * slices).reshape(cells, slices), axis=1)

    def by_server(value: Float[Array, " cells"]) -> Float[Array, " servers"]:
        return jax.ops.segment_sum(value, topology.cell_server, servers)

    occupied = delivery.bits / jnp.maximum(flows.spectral_efficiency * slot_s, 1e-6)
    slice_used = jax.ops.segment_sum(occupied, place, cells * slices).reshape(cells, slices)
    used = jnp.sum(slice_used, axis=1)
    carried, transcoded = by_cell(delivery.bits), by_cell(delivery.transcoded_bits)
    load = (used + limit.overhead_bandwidth_hz) / topology.cell_bandwidth_hz
    busy = by_server(transcoded) * edge.cycles_per_bit / slot_s + limit.overhead_cycles_per_s
    reported = jnp.sum(overhead.bits) * edge.report_energy_j_per_bit / slot_s
    report_share = limit.overhead_bandwidth_hz / jnp.maximum(jnp.sum(limit.overhead_bandwidth_hz), 1e-6)
    return Usage(
        load=load,
        used_bandwidth_hz=used,
        overhead_bandwidth_hz=limit.overhead_bandwidth_hz,
        throughput_bps=carried / slot_s,
        cell_power_w=topology.cell_static_w
        + load * w_from_dbm(topology.cell_power_dbm) / topology.cell_amplifier_efficiency,
        report_power_w=reported * report_share,
        slice_used_hz=slice_used,
        utilisation=busy / topology.server_cycles_per_s,
        queue_cycles=by_server(by_cell(delivery.queue_bits)) * edge.cycles_per_bit,
        cache_hits_bits=by_server(carried - transcoded),
        cache_misses_bits=by_server(transcoded),
        server_power_w=topology.server_kappa * topology.server_cycles_per_s**2 * busy,
    )


def _delay_s(
    topology: Topology,
    flows: Flows,
    rate_bps: Float[Array, " flows"],
    queue_bits: Float[Array, " flows"],
    served_bits: Float[Array, " flows"],
    slot_s: float,
) -> Float[Array, " flows"]:
    """One packet's way: propagation, 12 kbit at the granted rate, handover, and the wait for transcoding; at most 10 s.

    Left out: queueing at the base station (the player asks for what it can take), retransmission.
    """
    path = (topology.cell_delay_s + topology.link_delay_s)[flows.cell] + (slot_s - flows.airtime_s)
    wait = jnp.where(queue_bits > 0, queue_bits / jnp.maximum(served_bits / slot_s, 1e-6), 0.0)
    return jnp.minimum(path + _PACKET_BITS / jnp.maximum(rate_bps, 1.0) + wait, LONGEST_DELAY_S)


def _fitted(
    reserved: Float[Array, "pools slices"], active: Bool[Array, " slices"], pool: Float[Array, " pools"]
) -> Float[Array, "pools slices"]:
    wanted = _sane(reserved, active[None, :], jnp.maximum(pool, 0.0)[:, None])
    return wanted * _ratio(pool, jnp.sum(wanted, axis=1))[:, None]


def _sane(value: Float[Array, "..."], active: Bool[Array, "..."], most: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.where(active & (value > 0), jnp.minimum(value, most), 0.0)


def _ratio(have: Float[Array, "..."], asked: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.clip(have / jnp.maximum(asked, 1e-6), 0.0, 1.0)


def _backhaul(
    offered: Float[Array, "cells slices"], share: Float[Array, "cells slices"]
) -> Float[Array, "cells slices"]:
    """Bits each slice may send: its share of the link, and of what others leave in proportion to what it lacks."""
    own = jnp.minimum(offered, share)
    lacking = offered - own
    left = jnp.sum(share - own, axis=1, keepdims=True)
    return own + lacking * _ratio(left, jnp.sum(lacking, axis=1, keepdims=True))
