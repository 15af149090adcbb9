"""A BitTorrent tracker daemon: UDP, HTTP, REST API and health check over one tracker core."""
