"""The reference of `scripts/benchmark --http`: the announces of a tracker as a web application of aiohttp.

It does what such an application has to: parse the announce (BEP 3), note the peer in a dictionary, and answer
with packed peers of the swarm (BEP 23), as many as the tracker would. It forgets no peers, refuses nobody and
counts nothing, all of which would cost it more.

    aiohttp_tracker.py PORT      listens on 127.0.0.1
"""

import random
import socket
import sys
from functools import lru_cache
from urllib.parse import unquote_to_bytes

import uvloop
from aiohttp import web

_INTERVAL = 5  # seconds
_MOST_PEERS = 74
_BACKLOG = 1024
_SIZE = 6  # bytes of an endpoint

_unquote = lru_cache(maxsize=65_536)(unquote_to_bytes)  # torrents come again and again


class Swarm:
    def __init__(self) -> None:
        self._places: dict[bytes, int] = {}
        self._packed = bytearray()  # endpoints by their place
        self._seeds = bytearray()  # 1 for a seeder
        self.seeders = 0

    def __len__(self) -> int:
        return len(self._seeds)

    def announce(self, endpoint: bytes, *, seeds: bool, num_want: int) -> bytes:
        """Note a peer. Packed, at most `num_want` others, which stand together at a random place."""
        place = self._places.setdefault(endpoint, len(self._seeds))
        if place == len(self._seeds):
            self._packed += endpoint
            self._seeds.append(False)
        self.seeders += seeds - self._seeds[place]
        self._seeds[place] = seeds
        first = int(random.random() * max(1, len(self._seeds) - num_want))
        chosen = self._packed[first * _SIZE : (first + num_want + 1) * _SIZE]
        one_too_many = place - first if 0 <= place - first <= num_want else num_want
        del chosen[one_too_many * _SIZE : (one_too_many + 1) * _SIZE]
        return bytes(chosen)


class Tracker:
    def __init__(self) -> None:
        self._swarms: dict[bytes, Swarm] = {}

    async def announce(self, request: web.Request) -> web.Response:
        query = request.raw_path.partition("?")[2]
        values = dict(pair.split("=", 1) for pair in query.split("&"))
        info_hash, peer_id = _unquote(values["info_hash"]), unquote_to_bytes(values["peer_id"])
        port, num_want = int(values["port"]), min(int(values.get("numwant", 50)), _MOST_PEERS)
        if len(info_hash) != 20 or len(peer_id) != 20 or not 0 < port < 65536 or request.remote is None:
            return web.Response(body=b"d14:failure reason11:bad requeste")
        swarm = self._swarms.get(info_hash)
        if swarm is None:
            swarm = self._swarms[info_hash] = Swarm()
        endpoint = socket.inet_aton(request.remote) + port.to_bytes(2)
        peers = swarm.announce(endpoint, seeds=values["left"] == "0", num_want=num_want)
        body = b"d8:completei%de10:incompletei%de8:intervali%de12:min intervali%de5:peers%d:%be" % (
            swarm.seeders,
            len(swarm) - swarm.seeders,
            _INTERVAL,
            _INTERVAL,
            len(peers),
            peers,
        )
        return web.Response(body=body)


def main(port: int) -> None:
    application = web.Application()
    application.router.add_get("/announce", Tracker().announce)
    web.run_app(
        application,
        host="127.0.0.1",
        port=port,
        access_log=None,
        backlog=_BACKLOG,
        print=None,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
