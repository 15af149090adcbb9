"""Which client a peer id belongs to (BEP 20): product names, without versions.

The rules are tried in order, and the first that applies decides, also if it knows no name.
"""

import re

from torrust_py.core.types import PeerId

_BITCOMET_STARTS = (b"exbc", b"FUTB", b"xUTB")
_TAGS_WITHOUT_DASH = {b"FG", b"LH", b"NE", b"KT", b"SP"}
_BIGLYBT, _BIGLYBT_ANDROID = "BiglyBT", "BiglyBT for Android"

_TAGS = {
    tag.encode(): name
    for tag, name in {
        "A~": "Ares",
        "AG": "Ares",
        "AN": "Ares",
        "AR": "Ares",
        "AT": "Artemis",
        "AV": "Avicora",
        "AX": "BitPump",
        "AZ": "Vuze",
        "BB": "BitBuddy",
        "BC": "BitComet",
        "BE": "BitTorrent SDK",
        "BF": "BitFlu",
        "BG": "BTG",
        "BI": _BIGLYBT,
        "BR": "BitRocket",
        "BS": "BTSlave",
        "BT": "BitTorrent",
        "BW": "BitWombat",
        "BX": "BittorrentX",
        "bk": "BitKitten (libtorrent)",
        "CB": "Shareaza Plus",
        "CD": "Enhanced CTorrent",
        "CT": "CTorrent",
        "DE": "Deluge",
        "DP": "Propogate Data Client",
        "EB": "EBit",
        "ES": "Electric Sheep",
        "FC": "FileCroc",
        "FD": "Free Download Manager",
        "FG": "FlashGet",
        "FL": "folx",
        "FT": "FoxTorrent/RedSwoosh",
        "FX": "Freebox BitTorrent",
        "GR": "GetRight",
        "GS": "GS Torrent",
        "HL": "Halite",
        "HN": "Hydranode",
        "KG": "KGet",
        "KT": "KTorrent",
        "LC": "LeechCraft",
        "LH": "LH-ABC",
        "LK": "linkage",
        "LP": "Lphant",
        "LT": "libtorrent (Rasterbar)",
        "lt": "libTorrent (Rakshasa) / rTorrent",
        "LW": "LimeWire",
        "MG": "MediaGet",
        "MO": "MonoTorrent",
        "MP": "MooPolice",
        "MR": "Miro",
        "MT": "MoonlightTorrent",
        "NE": "BT Next Evolution",
        "NX": "NetTransport",
        "OS": "OneSwarm",
        "OT": "OmegaTorrent",
        "PC": "CacheLogic",
        "PD": "Pando",
        "PE": "PeerProject",
        "PT": "Popcorn Time",
        "pX": "pHoeniX",
        "qB": "qBittorrent",
        "QD": "qqdownload",
        "RM": "RUM Torrent",
        "RT": "Retriever",
        "RZ": "RezTorrent",
        "S~": "Shareaza alpha/beta",
        "SB": "SwiftBit",
        "SD": "迅雷在线 (Xunlei)",
        "SG": "GS Torrent",
        "SN": "ShareNET",
        "SP": "BitSpirit",
        "SS": "SwarmScope",
        "ST": "SymTorrent",
        "st": "SharkTorrent",
        "SZ": "Shareaza",
        "TG": "Torrent GO",
        "TN": "Torrent.NET",
        "TR": "Transmission",
        "TS": "TorrentStorm",
        "TT": "TuoTu",
        "UE": "µTorrent Embedded",
        "UL": "uLeecher!",
        "UM": "µTorrent Mac",
        "UT": "µTorrent",
        "UW": "µTorrent Web",
        "VG": "哇嘎 (Vagaa)",
        "WD": "WebTorrent Desktop",
        "WT": "Bitlet",
        "WW": "WebTorrent",
        "WY": "FireTorrent",
        "XC": "XTorrent",
        "XF": "Xfplay",
        "XL": "迅雷在线 (Xunlei)",
        "XT": "XanTorrent",
        "XX": "XTorrent",
        "ZO": "Zona",
        "ZT": "ZipTorrent",
        "7T": "aTorrent",
        "#@": "Invalid PeerID",
    }.items()
}

_LETTERS = {
    "A": "ABC",
    "O": "Osprey Permaseed",
    "Q": "BTQueue",
    "R": "Tribler",
    "S": "Shad0w",
    "T": "BitTornado",
    "U": "UPnP NAT",
}
_LETTER_STYLE = re.compile(rb"([AOQRSTU])[0-9A-Za-z]*-*", re.DOTALL)

_WITH_DIGIT = (
    (re.compile(rb"M[0-9]"), "Mainline"),
    (re.compile(rb"Q[0-9]"), "Queen Bee"),
    (re.compile(rb"S3-[0-9]"), "Amazon AWS S3"),
)

# What stands at which offset.
_MARKS = (
    (b"-UT170-", 0, "µTorrent"),
    (b"Azureus", 0, "Azureus"),
    (b"Azureus", 5, "Azureus"),
    (b"-aria2-", 0, "Aria"),
    (b"PRC.P---", 0, "BitTorrent Plus!"),
    (b"P87.P---", 0, "BitTorrent Plus!"),
    (b"S587Plus", 0, "BitTorrent Plus!"),
    (b"AZ2500BT", 0, "BitTyrant (Azureus Mod)"),
    (b"BLZ", 0, "Blizzard Downloader"),
    (b"BG", 10, "BTGetit"),
    (b"btuga", 0, "BTugaXP"),
    (b"BTuga", 5, "BTugaXP"),
    (b"oernu", 0, "BTugaXP"),
    (b"BTDWV-", 0, "Deadman Walking"),
    (b"Deadman Walking-", 0, "Deadman"),
    (b"Ext", 0, "External Webseed"),
    (b"-G3", 0, "G3 Torrent"),
    (b"271-", 0, "GreedBT"),
    (b"arclight", 0, "Hurricane Electric"),
    (b"-WS", 0, "HTTPSeed"),
    (b"10-------", 0, "JVtorrent"),
    (b"LIME", 0, "Limewire"),
    (b"martini", 0, "Martini Man"),
    (b"Pando", 0, "Pando"),
    (b"PEERAPP", 0, "PeerApp"),
    (b"btfans", 4, "SimpleBT"),
    (b"a00---0", 0, "Swarmy"),
    (b"a02---0", 0, "Swarmy"),
    (b"T00---0", 0, "Teeweety"),
    (b"346-", 0, "TorrentTopia"),
    (b"DansClient", 0, "XanTorrent"),
    (b"DNA", 0, "BitTorrent DNA"),
    (b"OP", 0, "Opera"),
    (b"O", 0, "Opera"),
    (b"Mbrst", 0, "Burst!"),
    (b"turbobt", 0, "TurboBT"),
    (b"btpd", 0, "BT Protocol Daemon"),
    (b"Plus", 0, "Plus!"),
    (b"XBT", 0, "XBT"),
    (b"-BOW", 0, "BitsOnWheels"),
    (b"eX", 0, "eXeem"),
    (b"-ML", 0, "MLdonkey"),
    (b"BitLet", 0, "Bitlet"),
    (b"AP", 0, "AllPeers"),
    (b"BTM", 0, "BTuga Revolution"),
    (b"RS", 2, "Rufus"),
    (b"BM", 2, "BitMagnet"),
    (b"QVOD", 0, "QVOD"),
    (b"TB", 0, "Top-BT"),
    (b"TIX", 0, "Tixati"),
    (b"-UM", 0, "µTorrent Mac"),
    (b"-UT", 0, "µTorrent"),
)


def client_name(peer_id: PeerId) -> str | None:
    """The name of the client, None for one that no rule knows. It needs no escaping in JSON."""
    if peer_id.endswith((b"UDP0", b"HTTPBT")):
        return _bitspirit_or_bitcomet(peer_id) or "BitSpirit?"
    if _is_dash_style(peer_id):
        return _dash_name(peer_id)
    return (
        _letter_name(peer_id)
        or _digit_name(peer_id)
        or _bitspirit_or_bitcomet(peer_id)
        or _mark_name(peer_id)
    )


def _bitspirit_or_bitcomet(peer_id: PeerId) -> str | None:
    if peer_id[2:4] == b"BS":
        return "BitSpirit"
    if peer_id.startswith(_BITCOMET_STARTS):
        return "BitLord" if peer_id[6:10] == b"LORD" else "BitComet"
    return None


def _is_dash_style(peer_id: PeerId) -> bool:
    has_dashes = peer_id[7:8] == b"-" and not peer_id.startswith(b"-BOW")
    return peer_id.startswith(b"-") and (has_dashes or peer_id[1:3] in _TAGS_WITHOUT_DASH)


def _dash_name(peer_id: PeerId) -> str | None:
    name = _TAGS.get(peer_id[1:3])
    return _BIGLYBT_ANDROID if name == _BIGLYBT and peer_id[8:9] == b"A" else name


def _letter_name(peer_id: PeerId) -> str | None:
    match = _LETTER_STYLE.fullmatch(peer_id[:5])
    if match is None or peer_id[5:6] != b"-" or peer_id.startswith(b"TB100-"):
        return None
    return _LETTERS[match[1].decode()]


def _digit_name(peer_id: PeerId) -> str | None:
    return next((name for start, name in _WITH_DIGIT if start.match(peer_id)), None)


def _mark_name(peer_id: PeerId) -> str | None:
    return next((name for mark, offset, name in _MARKS if peer_id.startswith(mark, offset)), None)
