# The tracker in a container; docs/deployment.md shows how to use it. Build it with
#
#     docker build --tag torrust-tracker .
#
# or, where there is no Docker, with scripts/container. Any Debian that has python3 (3.11 or newer) can be the base.
ARG BASE_IMAGE=python:3.11-slim-bookworm


# Builds in /opt/torrust_py, which is where it will run, and lays out in /image what the image has beyond its base.
FROM ${BASE_IMAGE} AS build
ENV DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# Debian's python3 comes without the means to make an environment and without headers, the Python images with both.
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-unsafe-io gcc libc6-dev \
        $(python3 -c 'import ensurepip' 2>/dev/null || echo python3-venv) \
        $(test -e "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" || echo libpython3-dev) \
        >/dev/null

WORKDIR /build
# pip stays outside of the environment that it fills. Dependencies first: they change less often than the sources.
COPY pyproject.toml ./
RUN python3 -m venv tools \
    && python3 -m venv --without-pip /opt/torrust_py \
    && python3 -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
print(*p["dependencies"], *sum((p["optional-dependencies"].get(n, []) for n in ("mysql", "postgresql")), []), sep="\n")' \
        >requirements.txt \
    && tools/bin/pip --python /opt/torrust_py install -q --no-cache-dir --no-compile -r requirements.txt

COPY setup.py README.md LICENSE ./
COPY config config
COPY torrust_py torrust_py
# The install succeeds without the native form; the image must not.
RUN printf '[build_ext]\nparallel = 4\n' >parallel.cfg \
    && DIST_EXTRA_CONFIG=/build/parallel.cfg tools/bin/pip --python /opt/torrust_py install -q --no-cache-dir --no-compile --no-deps . \
    && cd / && /opt/torrust_py/bin/python -c 'import torrust_py.native.http, torrust_py.native.udp'

COPY scripts/container-entry /image/usr/local/bin/entry.sh
# What the daemon never reads goes: sources and headers of extensions, tests, debugging symbols.
# Compiled once and not compared with the sources again, since the daemon may write nothing here.
RUN set -eu \
    && cd /opt/torrust_py \
    && find . \( -name '*.pyx' -o -name '*.pxd' -o -name '*.pyi' -o -name '*.c' -o -name '*.h' \) -delete \
    && find . -type d \( -name tests -o -name testing -o -name __pycache__ \) -prune -exec rm -r {} + \
    && find . -name '*.so' -exec strip --strip-unneeded {} + \
    && bin/python -m compileall -q --invalidation-mode unchecked-hash lib \
    && cd /image \
    && mkdir -p opt usr/bin usr/share/torrust/container usr/share/torrust/default/database home/torrust etc/profile.d \
    && mv /opt/torrust_py opt \
    && for program in torrust-tracker http_health_check udp_tracker_client http_tracker_client tracker_checker; do \
        ln -s "/opt/torrust_py/bin/$program" usr/bin; \
    done \
    && cp -r /build/config usr/share/torrust/default \
    && : >usr/share/torrust/default/database/tracker.sqlite3.db \
    && printf '\n%s\n%s\n\n' 'The BitTorrent tracker torrust_py. Its configuration is /etc/torrust/tracker/tracker.toml;' \
        'torrust-tracker --help tells how to change it.' >usr/share/torrust/container/message \
    && echo '[ -n "${TERM:-}" ] && [ -r /etc/motd ] && cat /etc/motd' >etc/profile.d/torrust.sh \
    && chmod -R u=rwX,go=rX . \
    && chmod 755 usr/local/bin/entry.sh \
    # Who is given by `docker run --user` may write in new volumes; as root the entry closes them.
    && mkdir -p -m 1777 var/lib/torrust/tracker var/log/torrust/tracker etc/torrust/tracker


FROM ${BASE_IMAGE} AS runtime
COPY --from=build /image /
ENV TORRUST_TRACKER_CONFIG_TOML_PATH=/etc/torrust/tracker/tracker.toml \
    TORRUST_TRACKER_CONFIG_OVERRIDE_CORE__DATABASE__DRIVER=sqlite3 \
    USER_ID=1000 \
    UDP_PORT=6969 \
    HTTP_PORT=7070 \
    API_PORT=1212 \
    HEALTH_CHECK_API_PORT=1313 \
    TZ=Etc/UTC \
    RUNTIME=runtime
EXPOSE 6969/udp 7070/tcp 1212/tcp 1313/tcp
VOLUME ["/var/lib/torrust/tracker", "/var/log/torrust/tracker", "/etc/torrust/tracker"]
ENTRYPOINT ["/usr/local/bin/entry.sh"]


# A shell, as the tracker would run: docker build --target debug .
FROM runtime AS debug
ENV RUNTIME=debug
CMD ["sh"]


FROM runtime AS release
ENV RUNTIME=release
HEALTHCHECK --interval=5s --timeout=5s --start-period=3s --retries=3 \
    CMD http_health_check "http://localhost:${HEALTH_CHECK_API_PORT}/health_check"
CMD ["/usr/bin/torrust-tracker"]
