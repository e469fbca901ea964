# One image for the whole mesh: `weft`, `weft-proxy` (the sidecar and its redirection) and `weft-control-plane`.
#
#   docker build -t weft:0.1.0 .        with DOCKER_BUILDKIT=1 before Docker 23
#   docker buildx bake                  the same; for several platforms where PLATFORMS names them
#
# PROFILE is cargo's: `dist` is what is shipped, `release` builds in half the time.
ARG RUST_VERSION=1.95.0
ARG DEBIAN=bookworm

# Runs on the machine that builds, whatever the image is for: what takes minutes is compiled across, not emulated.
FROM --platform=$BUILDPLATFORM rust:${RUST_VERSION}-${DEBIAN} AS build
ARG TARGETARCH
ARG BUILDARCH
RUN set -eu; \
    case "$TARGETARCH" in \
        amd64) triple=x86_64-unknown-linux-gnu gcc=x86-64-linux-gnu linker=x86_64-linux-gnu-gcc ;; \
        arm64) triple=aarch64-unknown-linux-gnu gcc=aarch64-linux-gnu linker=aarch64-linux-gnu-gcc ;; \
        *) echo "weft is not built for $TARGETARCH, but for amd64 and arm64" >&2; exit 1 ;; \
    esac; \
    printf '[build]\ntarget = "%s"\n' "$triple" >/target.toml; \
    if [ "$TARGETARCH" != "$BUILDARCH" ]; then \
        apt-get -o Acquire::Retries=5 update; \
        apt-get -o Acquire::Retries=5 install -y --no-install-recommends "gcc-$gcc" "libc6-dev-$TARGETARCH-cross"; \
        rustup target add "$triple"; \
        printf '[target.%s]\nlinker = "%s"\n[env]\nCC_%s = "%s"\n' "$triple" "$linker" "$triple" "$linker" >>/target.toml; \
    fi
WORKDIR /src
COPY . .
ARG PROFILE=dist
ARG COMMIT=
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=weft-$TARGETARCH,target=/src/target \
    set -eu; \
    CARGO_NET_RETRY=10 WEFT_COMMIT=$COMMIT cargo --config /target.toml build --locked --profile "$PROFILE" \
        -p weft -p weft-proxy -p weft-control-plane --bins; \
    mkdir /out; \
    case "$PROFILE" in dev) folder=debug ;; *) folder=$PROFILE ;; esac; \
    for name in weft weft-proxy weft-control-plane; do cp target/*/"$folder/$name" /out/; done

# What weft needs of Debian, of the platform that the image is for: nft, and the libraries that it and weft load.
FROM debian:${DEBIAN}-slim AS files
RUN set -eu; \
    apt-get -o Acquire::Retries=5 update; \
    apt-get -o Acquire::Retries=5 install -y --no-install-recommends nftables libgcc-s1; \
    mkdir -p /image/usr/local/bin /image/usr/sbin /image/etc /image/var/lib/weft /image/tmp; \
    cp /usr/sbin/nft /image/usr/sbin/; \
    printf 'hosts: files dns\n' >/image/etc/nsswitch.conf; \
    printf 'root:x:0:0::/:/\nweft:x:2102:2102::/var/lib/weft:/\n' >/image/etc/passwd; \
    printf 'root:x:0:\nweft:x:2102:\n' >/image/etc/group; \
    chown 2102:2102 /image/var/lib/weft; \
    chmod 700 /image/var/lib/weft; \
    chmod 1777 /image/tmp
COPY --from=build /out/ /image/usr/local/bin/
# ldd prints NAME => FILE (ADDRESS), and the loader as FILE (ADDRESS).
RUN set -eu; \
    ldd /image/usr/sbin/nft /image/usr/local/bin/* | sed -n 's/^\t\(.* => \)\?\(\/[^ ]*\) (.*/\2/p' | sort -u >/libraries; \
    while read -r library; do \
        mkdir -p "/image$(dirname "$library")"; \
        cp -L "$library" "/image$library"; \
    done </libraries

FROM scratch
ARG COMMIT=
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="weft" \
      org.opencontainers.image.description="A service mesh: sidecar, control plane and command in one image" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
COPY --from=files /image/ /
ENV PATH=/usr/local/bin:/usr/sbin \
    WEFT_DATA_DIR=/var/lib/weft \
    WEFT_CONFIG=/var/lib/weft/admin.yaml
# Redirection exempts this user: only the sidecar's own traffic is its.
USER 2102:2102
WORKDIR /var/lib/weft
HEALTHCHECK --interval=5s --timeout=5s --start-period=10s CMD ["weft", "probe"]
ENTRYPOINT ["weft"]
CMD ["--help"]
