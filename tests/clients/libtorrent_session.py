"""A libtorrent session as a process: shares one torrent, and does as the lines on its standard input say.

Arguments: the .torrent file, the directory of the content, the address and port to listen at.

Lines: `announce` (at once, whatever the interval) and `leave` (drop the torrent, so that the tracker hears
`stopped`). It ends with its standard input.
"""

import sys
import threading

import libtorrent as lt


def main() -> None:
    metainfo, directory, endpoint = sys.argv[1:]
    session = lt.session(
        {
            "listen_interfaces": endpoint,
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "alert_mask": lt.alert.category_t.all_categories,
        }
    )
    threading.Thread(target=_print_alerts, args=(session,), daemon=True).start()
    torrent = session.add_torrent({"ti": lt.torrent_info(metainfo), "save_path": directory})
    for line in sys.stdin:
        if line == "announce\n":
            torrent.force_reannounce(0, -1, lt.reannounce_flags_t.ignore_min_interval)
        elif line == "leave\n":
            session.remove_torrent(torrent)


def _print_alerts(session: lt.session) -> None:
    while True:
        session.wait_for_alert(1000)
        for alert in session.pop_alerts():
            print(alert.what(), alert.message(), flush=True)


if __name__ == "__main__":
    main()
