"""Every metric of ours: its name, what it is, and what to do about it. `docs/metrics.md` is made from this.

What Torrust's development version has, too, has its name and labels here, unless those break the conventions
(a gauge that ends in `_total`): then without that ending.
"""

from typing import NamedTuple

BINDING = (
    "server_binding_protocol",
    "server_binding_ip",
    "server_binding_port",
    "server_binding_address_ip_family",
)
"""Labels of what a listener counts."""

FAMILY = "client_address_ip_family"


class Metric(NamedTuple):
    name: str
    """As it is shown, but for the endings of a histogram's samples and of an information."""
    kind: str
    """`counter`, `gauge`, `histogram` or `info`."""
    help: str
    labels: tuple[str, ...] = ()
    watch: str = ""
    """What to alert on, and the remedy."""
    unit: str = "count"


# --- requests

REQUESTS = Metric(
    "torrust_tracker_requests_total",
    "counter",
    "Requests by what became of them: connect, announce and scrape were handled.",
    (*BINDING, FAMILY, "outcome"),
    "no announces for minutes on a public tracker: nobody reaches it, or it stands",
)
UNHANDLED = Metric(
    "torrust_tracker_requests_unhandled_total",
    "counter",
    "Requests that were refused, malformed or dropped, by reason; all of one outcome add up to its requests.",
    (*BINDING, FAMILY, "outcome", "reason"),
    "any with reason internal_error: a bug, whose traceback is in the log; no_memory: lower core.limits",
)
DURATION = Metric(
    "torrust_tracker_request_duration_seconds",
    "histogram",
    "Seconds from receipt to send, of a sample of the requests that were handled.",
    (*BINDING, "request_kind"),
    "a 99th percentile over 0.01 for minutes",
    "seconds",
)
UDP_RECEIVED = Metric(
    "udp_tracker_server_requests_received_total",
    "counter",
    "UDP requests received.",
    (*BINDING, FAMILY),
)
UDP_ACCEPTED = Metric(
    "udp_tracker_server_requests_accepted_total",
    "counter",
    "UDP requests handled.",
    (*BINDING, FAMILY, "request_kind"),
)
UDP_RESPONSES = Metric(
    "udp_tracker_server_responses_sent_total",
    "counter",
    "UDP responses, also those that the kernel did not take: answers (ok) and error messages (error).",
    (*BINDING, FAMILY, "result"),
)
UDP_ERRORS = Metric(
    "udp_tracker_server_errors_total",
    "counter",
    "UDP requests that were refused or malformed, or at which the tracker failed.",
    (*BINDING, FAMILY),
)
UDP_CONNECTION_ID_ERRORS = Metric(
    "udp_tracker_server_connection_id_errors_total",
    "counter",
    "UDP requests with a connection id that their client was not issued, or too long ago.",
    (*BINDING, FAMILY),
    "more than half of all announces for an hour: the secret of the connection ids is not kept (see the log "
    "at the start), or somebody sends under others' addresses",
)
UDP_ABORTED = Metric(
    "udp_tracker_server_requests_aborted_total",
    "counter",
    "UDP requests that were dropped without an answer.",
    (*BINDING, FAMILY),
)
UDP_CORE = Metric(
    "udp_tracker_core_requests_received_total",
    "counter",
    "UDP requests that reached the tracker's core.",
    (*BINDING, FAMILY, "request_kind"),
)
HTTP_CORE = Metric(
    "http_tracker_core_requests_received_total",
    "counter",
    "HTTP requests that reached the tracker's core.",
    (*BINDING, FAMILY, "request_kind"),
)

# --- sockets

KERNEL_DROPS = Metric(
    "torrust_tracker_udp_kernel_drops_total",
    "counter",
    "Datagrams for which the kernel found no room in the socket; they never reached the tracker.",
    BINDING,
    "any increase: raise net.core.rmem_max, or give the tracker more of a processor",
)
UNSENT = Metric(
    "torrust_tracker_udp_responses_unsent_total",
    "counter",
    "Responses that the kernel did not take.",
    BINDING,
    "a steady increase: the network card or a firewall does not keep up; raise net.core.wmem_default",
)
BUFFER = Metric(
    "torrust_tracker_udp_buffer_bytes",
    "gauge",
    "Bytes that the kernel granted the socket for what it has received, and for what it is to send.",
    (*BINDING, "direction"),
    "a receive buffer below 4194304: raise net.core.rmem_max and start again",
    "bytes",
)
CONNECTIONS = Metric("torrust_tracker_http_connections", "gauge", "Open connections.", BINDING)
CONNECTIONS_LIMIT = Metric(
    "torrust_tracker_http_connections_limit",
    "gauge",
    "Connections that all HTTP trackers together may have open.",
    watch="all torrust_tracker_http_connections together over nine tenths of it: raise the limit of open "
    "files (ulimit -n)",
)
CONNECTIONS_REFUSED = Metric(
    "torrust_tracker_http_connections_refused_total",
    "counter",
    "New connections for which there was no room.",
    watch="any increase: as above",
)
CONNECTIONS_EVICTED = Metric(
    "torrust_tracker_http_connections_evicted_total",
    "counter",
    "Idle connections that had to make room for new ones.",
)

# --- swarms

TORRENTS = Metric("swarm_coordination_registry_torrents", "gauge", "Torrents that are known.")
PEERS = Metric(
    "swarm_coordination_registry_peer_connections",
    "gauge",
    "Peers, once for each torrent that they take part in.",
    ("peer_role",),
)
DOWNLOADS = Metric(
    "swarm_coordination_registry_torrents_downloads",
    "gauge",
    "How often the torrents that are known were completed.",
)
LIMIT = Metric(
    "torrust_tracker_limit",
    "gauge",
    "The options of core.limits, or what the tracker has chosen; absent where there is no limit.",
    ("limit",),
)
LIMIT_USED = Metric(
    "torrust_tracker_limit_used_ratio",
    "gauge",
    "How much of core.limits.max_torrents and max_peers is in use, 0 to 1.",
    ("limit",),
    "over 0.9: raise core.limits, if the memory has room for it; beyond 1 newcomers replace others",
    "ratio",
)
LIMIT_FELT = Metric(
    "torrust_tracker_limit_felt_total",
    "counter",
    "How often a limit was felt: a peer or a torrent was replaced, or a new torrent not stored.",
    ("effect",),
    "any increase: a limit is reached, or a flood of random info hashes is under way",
)
MEMORY = Metric(
    "torrust_tracker_memory_available_bytes",
    "gauge",
    "Bytes that the process can still take, of the machine or of its container.",
    watch="below a tenth of process_resident_memory_bytes: lower core.limits, or add memory",
    unit="bytes",
)

MEMORY_SHORT = Metric(
    "torrust_tracker_memory_short",
    "gauge",
    "1 if there was next to no memory when last looked: then new peers replace others.",
    watch="1: give the process more memory, or lower core.limits",
)

# --- the event loop

LOOP_LAG = Metric(
    "torrust_tracker_event_loop_lag_seconds",
    "histogram",
    "How late the event loop was, looked at four times a second.",
    unit="seconds",
)
LOOP_LAG_LONGEST = Metric(
    "torrust_tracker_event_loop_lag_max_seconds",
    "gauge",
    "How late the event loop was at most within the last minute.",
    watch="over 0.1 for minutes: one core is not enough, or the machine swaps",
    unit="seconds",
)

# --- the database and the snapshot

DATABASE_UP = Metric(
    "torrust_tracker_database_up",
    "gauge",
    "1 if the database answered when it was last asked, else 0.",
    watch="0 for a minute: announces go on, but changes of keys and whitelist fail; the log says why",
)
DATABASE_CALLS = Metric(
    "torrust_tracker_database_calls_total",
    "counter",
    "Calls of the database, by whether it answered.",
    ("result",),
)
IN_DOUBT = Metric(
    "torrust_tracker_database_changes_in_doubt",
    "gauge",
    "1 while a change may have been made and is to be undone, else 0.",
    ("collection",),
    "1 for a minute: as above",
)
UNSAVED = Metric(
    "torrust_tracker_completed_unsaved",
    "gauge",
    "Torrents whose completed counter is newer than the database's, as of the last attempt to save.",
)
SAVED_AGE = Metric(
    "torrust_tracker_completed_saved_age_seconds",
    "gauge",
    "Seconds since all completed counters were found saved; absent if they are not kept.",
    watch="over 120: the database is away, and a crash would lose what is not saved",
    unit="seconds",
)
KEYS = Metric("torrust_tracker_keys", "gauge", "Keys of a private tracker, also expired ones.")
WHITELIST = Metric("torrust_tracker_whitelisted_torrents", "gauge", "Torrents on the whitelist.")
BLACKLIST = Metric("torrust_tracker_blacklisted_torrents", "gauge", "Torrents that are refused.")
SNAPSHOT_AGE = Metric(
    "torrust_tracker_snapshot_age_seconds",
    "gauge",
    "Seconds since the swarms were last written to their file; absent without one.",
    watch="over three times core.snapshot.interval: the log says why it is not written",
    unit="seconds",
)
SNAPSHOT_SIZE = Metric(
    "torrust_tracker_snapshot_size_bytes", "gauge", "Bytes of the file of the swarms.", unit="bytes"
)
SNAPSHOT_FAILURES = Metric(
    "torrust_tracker_snapshot_failures_total",
    "counter",
    "How often the file of the swarms could not be written.",
    watch="any increase: is the disk full?",
)

# --- the process

BUILD = Metric(
    "torrust_tracker_build_info",
    "info",
    "What runs: version, form of the data plane, Python, event loop.",
    ("version", "form", "python", "loop"),
    'form="portable" where the native one was expected: install again where there is a C compiler',
    "",
)

GROUPS: dict[str, tuple[Metric, ...]] = {
    "Requests": (
        REQUESTS, UNHANDLED, DURATION, UDP_RECEIVED, UDP_ACCEPTED, UDP_RESPONSES, UDP_ERRORS,
        UDP_CONNECTION_ID_ERRORS, UDP_ABORTED, UDP_CORE, HTTP_CORE,
    ),
    "Sockets": (
        KERNEL_DROPS, UNSENT, BUFFER, CONNECTIONS, CONNECTIONS_LIMIT, CONNECTIONS_REFUSED,
        CONNECTIONS_EVICTED,
    ),
    "Swarms and limits": (TORRENTS, PEERS, DOWNLOADS, LIMIT, LIMIT_USED, LIMIT_FELT, MEMORY, MEMORY_SHORT),
    "Event loop": (LOOP_LAG, LOOP_LAG_LONGEST),
    "Database and snapshot": (
        DATABASE_UP, DATABASE_CALLS, IN_DOUBT, UNSAVED, SAVED_AGE, KEYS, WHITELIST, BLACKLIST,
        SNAPSHOT_AGE, SNAPSHOT_SIZE, SNAPSHOT_FAILURES,
    ),
    "Process": (BUILD,),
}  # fmt: skip
"""In the order in which they are shown."""

CATALOGUE = {metric.name: metric for group in GROUPS.values() for metric in group}
